"""The terminal: what a person sees.

    streams   stdout for answers, stderr for the rest, and what to do when one is closed or full
    board     what every agent is doing, as values kept up to date by events
    views     who watches a run: the live tree, plain lines, nobody
    tree      the live tree (imports rich, so it is loaded for a terminal only)
    answers   an answer as text, as a page of a terminal, and in one line
    page      Markdown wrapped to a width (imports rich as well)
    notebook  the tree below the cell of a notebook

Everything that did not come from this program is made printable before it is shown.
"""
