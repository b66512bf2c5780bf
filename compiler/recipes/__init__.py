"""Recipes that come with derycc: networks of the literature as `derycc.recipe/1` files."""
