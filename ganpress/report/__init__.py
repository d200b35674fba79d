"""The report: one offline HTML page, the same content in Markdown, and the headline numbers."""
