"""Sets of images known by name, and where to fetch them."""
