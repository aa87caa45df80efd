"""The web page of `slt-cache app`. Only `page` and `serve` import gradio, the extra `app`."""
