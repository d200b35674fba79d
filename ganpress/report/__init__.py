"""The report: one offline page, its Markdown twin, and the headline numbers."""
