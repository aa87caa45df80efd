"""The web page of `slt-cache app`. Only `page` and `serve` import gradio, which is the extra `app`."""
