"""What stands behind the `Model` protocol: Claude through its SDK, the offline model, the scripted model.

Nothing here is imported before it is used: the SDK alone takes longer to import than an offline run takes.
"""
