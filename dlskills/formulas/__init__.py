"""Formulas, and the engines that run them."""
