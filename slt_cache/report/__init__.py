"""Pages that show what was measured, each one self-contained HTML file: `write_report` makes that of a run.

For pages of other things in the same style: `page.render` with a template that extends base.html.jinja, and
`lines.draw_lines`. Everything here reads what other commands left behind; nothing is trained or translated."""

from slt_cache.report.build import write_report

__all__ = ["write_report"]
