"""The report: one page that holds everything it shows, made from the tables of metrics/."""
