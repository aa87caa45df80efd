"""Pages of results, each a self-contained HTML file; `write_report` writes that of a run.

Other pages in the same style use `template.render` with a template that extends base.html.jinja, and
`lines.draw_lines`. Everything here reads what other commands wrote; nothing is trained or translated."""

from slt_cache.report.build import write_report

__all__ = ["write_report"]
