"""Texts that come with photos: sidecars, notes, pages, and what is written inside a photo's file. No SQL, no model.

sources   which files of a folder are text sources, and what one says
sidecars  which photo a sidecar's name belongs to
embedded  what EXIF, IPTC and XMP of a photo say in words
page      Markdown and HTML -> blocks of words and pictures
passages  blocks -> passages of a length that a model reads at once
phrases   noun phrases of a passage
words     bytes -> text, and text without what cannot be read
"""
