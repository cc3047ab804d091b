"""${{ name }}: a small HTTP service."""

NAME = "${{ name }}"
