"""Printed columns of the core kinds, one module a noun. Names, order and cells are upstream's."""
