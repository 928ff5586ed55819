"""What is read from real files of other programs: the cases, the table docs/inputs.md, and the tests of both."""
