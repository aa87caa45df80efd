"""That the tools of these tests see what they are to see."""

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Seen

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_errors_and_requests_of_a_page_are_seen(page: "Page", seen: Seen) -> None:
    page.route("**/*", lambda route: route.abort())
    page.set_content("<script>console.error('one')</script><script>throw new Error('two')</script>")
    page.set_content("<img src='https://example.invalid/a.png'><img src='http://127.0.0.1:9/b.png'>")
    assert {"one", "two"} <= set(seen.errors)
    assert seen.outside == ["https://example.invalid/a.png"]
    assert "http://127.0.0.1:9/b.png" in seen.requests
