"""Real files of other programs, as cases: the tests, and the table docs/inputs.md that is made from them."""
