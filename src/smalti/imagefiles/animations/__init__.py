"""Animations, whose frames are put together as viewers show them: GIF, APNG, WebP."""
