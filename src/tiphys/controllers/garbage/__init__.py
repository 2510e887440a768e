"""The garbage collector: an object goes when all of its owners are gone."""
