"""How Sphinx makes the site; ``python tools/build_docs.py`` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import nncore  # noqa: E402

project = "nncore"
author = "The nncore authors"
copyright = "The nncore authors, MIT licence"
version = release = nncore.__version__
language = "en"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "docstrings",
    "mathml",
    "quiet",
    "reference",
]
exclude_patterns = ["_ext", "**/.ipynb_checkpoints"]

# -- pages: Markdown, and notebooks as they were run --------------------------------------------
myst_enable_extensions = ["amsmath", "attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
suppress_warnings = [
    "mystnb.unknown_mime_type",  # an output has HTML beside what this site cannot show
]
html_math_renderer = "mathml"
# No intersphinx: the inventories of other sites would make the build need a network.

# -- the reference, from docstrings -------------------------------------------------------------
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections say the types
autodoc_class_signature = "mixed"
autosummary_generate = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
add_module_names = False
numpydoc_show_class_members = False
nitpicky = True

# -- looks --------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = f"nncore {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"text": "nncore"},
    "navigation_depth": 2,
    "show_nav_level": 1,
    "show_toc_level": 1,
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
