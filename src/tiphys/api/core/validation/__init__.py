"""What is wrong with a core object, split by noun. Paths, kinds of error and wording are upstream's
(`pkg/apis/core/validation`); that `metadata` is well formed is the generic registry's to check.
"""
