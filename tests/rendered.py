"""What a page would do with some Markdown: the judge of what an answer may hold."""

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from hypothesis import strategies as st
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


_MARKUP = (
    "[¦]¦(¦)¦![¦](¦][¦]:¦[a]¦[a]:¦![a]¦[b][a]¦http://e¦//e¦<http://e>¦<a@e.e>¦<a href=x>¦<img src=x>¦<script>¦</script>¦<div "
    "¦<b>¦<x/¦<¦>¦=¦\"¦'¦`¦``¦```¦~~~¦\\¦\n¦\n\n¦ ¦\t¦>¦-¦1. ¦!¦:¦a¦b¦x[0](y)¦1¦[11]¦<!--¦-->¦<?¦&¦*¦_¦#¦|¦---¦onclick=x"
    "¦\u200b¦&lt;¦&#91;¦&colon;¦{¦\n> ¦\n- ¦<div>\n¦&#93;¦&#49;¦&#9¦\\[¦\\]¦[99]¦[11¦11]¦(http://e)¦: http://e"
)


def markup() -> st.SearchStrategy[str]:
    """Texts of pieces that mean something in Markdown or HTML."""
    return st.lists(st.sampled_from(_MARKUP.split("¦"))).map("".join)
