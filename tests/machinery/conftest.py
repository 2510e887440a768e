"""Stands here so that the tests of the folders below find `typed_objects`."""
