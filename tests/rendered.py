"""Markdown and HTML as an attacker would write them."""

from hypothesis import strategies as st

_MARKUP = (
    "[¦]¦(¦)¦![¦](¦][¦]:¦[a]¦[a]:¦![a]¦[b][a]¦http://e¦//e¦<http://e>¦<a@e.e>¦<a href=x>¦<img src=x>¦<script>¦</script>¦<div "
    "¦<b>¦<x/¦<¦>¦=¦\"¦'¦`¦``¦```¦~~~¦\\¦\n¦\n\n¦ ¦\t¦>¦-¦1. ¦!¦:¦a¦b¦x[0](y)¦1¦[11]¦<!--¦-->¦<?¦&¦*¦_¦#¦|¦---¦onclick=x"
    "¦\u200b¦&lt;¦&#91;¦&colon;¦{¦\n> ¦\n- ¦<div>\n¦&#93;¦&#49;¦&#9¦\\[¦\\]¦[99]¦[11¦11]¦(http://e)¦: http://e"
)


def markup() -> st.SearchStrategy[str]:
    """Texts of pieces that mean something in Markdown or HTML."""
    return st.lists(st.sampled_from(_MARKUP.split("¦"))).map("".join)
