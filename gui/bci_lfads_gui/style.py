"""The theme as Qt's style sheet."""

from __future__ import annotations

from bci_lfads_gui.palette import Theme


def style_sheet(theme: Theme) -> str:
    """Return the style sheet of the whole window."""
    t = theme
    return f"""
QWidget {{ background: {t.window}; color: {t.text}; }}
QMainWindow::separator {{ background: {t.line}; width: 3px; height: 3px; }}
QDockWidget {{ color: {t.text}; font-weight: 600; }}
QDockWidget::title {{ background: {t.base}; padding: 3px 6px; }}
QFrame#banner, QFrame#controls {{ border: 0; background: {t.base}; }}
QFrame#banner QLabel, QFrame#controls QLabel, QFrame#controls QCheckBox {{ background: {t.base}; }}
QFrame#line {{ color: {t.line}; }}
QPushButton, QToolButton, QComboBox {{
    background: {t.window}; border: 1px solid {t.line}; border-radius: 3px; padding: 2px 8px; }}
QToolButton {{ padding: 1px 5px; }}
QPushButton:hover, QToolButton:hover, QComboBox:hover {{ border-color: {t.muted}; }}
QPushButton:pressed, QPushButton:checked {{ background: {t.line}; }}
QPushButton:disabled, QComboBox:disabled {{ color: {t.muted}; border-color: {t.window}; }}
QPushButton:focus, QComboBox:focus, QLineEdit:focus {{ border-color: {t.condition(0)}; }}
QLineEdit {{ background: {t.window}; border: 1px solid {t.line}; border-radius: 3px;
    padding: 2px 6px; }}
QTableWidget {{ background: {t.window}; border: 0; selection-background-color: {t.line};
    selection-color: {t.text}; }}
QHeaderView::section {{ background: {t.window}; color: {t.muted}; border: 0; padding: 2px 6px; }}
QToolTip {{ background: {t.base}; color: {t.text}; border: 1px solid {t.line}; }}
QMenu, QMenuBar {{ background: {t.base}; }}
QMenu::item:selected, QMenuBar::item:selected {{ background: {t.line}; }}
QStatusBar {{ background: {t.base}; color: {t.muted}; }}
QComboBox QAbstractItemView {{ background: {t.base}; selection-background-color: {t.line}; }}
"""
