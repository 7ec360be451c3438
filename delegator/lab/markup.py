"""What a page would do with some Markdown: the judge of what an answer may hold."""

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
SWALLOWS = frozenset(
    (
        "script style textarea title xmp plaintext noscript noembed noframes template iframe svg math form body "
        "html head frameset select button"
    ).split()
)


class Page(HTMLParser):
    """Notes the tags of some HTML that could act: those with attributes, those that swallow or run."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that swallows what follows, runs it, or has an attribute."""
        if tag in SWALLOWS or any(value is not None for _, value in attrs):
            self.live.append(f"tag {tag}")


def live(markdown: str) -> list[str]:
    """What would act if this were rendered by a reader that lets HTML through."""
    return list(_live(MARKDOWN.parse(markdown)))


def _live(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "image":
            yield f"image {token.attrs['src']}"
        if token.type == "link_open" and re.search(r"[:/\\]", str(token.attrs["href"])):
            yield f"link {token.attrs['href']}"
        if token.type in ("html_inline", "html_block"):
            page = Page()
            page.feed(token.content + ">")  # in case the last tag is not finished
            page.close()
            yield from page.live
            yield from re.findall("<[!?]", token.content)
        yield from _live(token.children or [])
