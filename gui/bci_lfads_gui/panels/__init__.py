"""The window's panels, one file each; they only draw what the model holds."""
