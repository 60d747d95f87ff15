class ReportData:
    def __init__(self, contigs): ...
    def add(self, scores): ...


def write_report(path, gather, facts, n_pathogenic=0):
    path.write_text("x")
