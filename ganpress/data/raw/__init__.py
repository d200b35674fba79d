"""Raw data below `data/`: formats, archives and limits."""
