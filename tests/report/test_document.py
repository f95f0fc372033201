"""LaTeX as a user has it set up changes nothing."""

import os
import shutil

import pytest

from rm_tension.base.errors import UserError
from rm_tension.report.document import compile_pdf

needs_latex = pytest.mark.skipif(shutil.which("latexmk") is None, reason="needs latexmk (make tex)")

SOURCE = r"""\documentclass{article}\pdftrailerid{}
\usepackage{booktabs}
\begin{document}
What it says.
\begin{tabular}{l}\toprule 81.0 \\ \bottomrule\end{tabular}
\end{document}
"""
HOSTILE = (
    r"\ProvidesPackage{booktabs}\let\toprule\hline\let\bottomrule\hline\AtBeginDocument{OWNED }"
)


@needs_latex
def test_another_texmf_tree_and_a_latexmkrc_change_no_byte(tmp_path, monkeypatch):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "artifact.tex").write_text(SOURCE)
    compile_pdf(folder)
    plain = (folder / "artifact.pdf").read_bytes()
    tree = tmp_path / "home"
    for place in (tree / "texmf/tex/latex/booktabs", tree / "inputs"):
        place.mkdir(parents=True)
        (place / "booktabs.sty").write_text(HOSTILE)
    (tree / "texmf.cnf").write_text("openout_any = a\nshell_escape = t\n")
    for place in (tree / ".latexmkrc", folder / "latexmkrc"):
        place.write_text("$pdflatex = 'false';\n")
    for name, value in {
        "HOME": tree,
        "TEXMFHOME": tree / "texmf",
        "TEXINPUTS": f"{tree / 'inputs'}{os.pathsep}",
        "BIBINPUTS": tree / "inputs",
        "TEXMFCNF": f"{tree}{os.pathsep}",
        "TEXFORMATS": "/nowhere",
        "TEXMFOUTPUT": "/nowhere",
        "max_print_line": "20",
        "SOURCE_DATE_EPOCH": "86400",
        "LATEXMKRCSYS": tree / ".latexmkrc",
    }.items():
        monkeypatch.setenv(name, str(value))
    log = compile_pdf(folder)
    assert "OWNED" not in log
    assert str(tree) not in log
    assert (folder / "artifact.pdf").read_bytes() == plain


def test_without_latex_the_error_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"latexmk not found, .* `make tex`"):
        compile_pdf(tmp_path)


@needs_latex
def test_a_document_that_latex_refuses_is_named(tmp_path):
    text = r"\documentclass{article}\begin{document}\nonsense\end{document}"
    (tmp_path / "artifact.tex").write_text(text)
    with pytest.raises(UserError, match=r"artifact\.tex: ! Undefined control sequence"):
        compile_pdf(tmp_path)
