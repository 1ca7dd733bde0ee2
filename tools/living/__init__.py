"""The commands that people live with: producing, working, watching, finding what is wrong."""
