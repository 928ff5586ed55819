"""Reading archives: sections, tokens, images, columns, and checks of all of them."""
