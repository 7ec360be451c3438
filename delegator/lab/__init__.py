"""The trust lab: attacks and harmless documents, run against the real system, judged by code on what happened.

`cases` says what an attack is, `world` plays one, `judges` says whether it worked, `runner` plays many, `statistics` counts, `report`
and `page` show. Nothing here asks a model whether an attack worked.
"""
