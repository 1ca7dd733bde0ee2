from streams.journal cimport Journal
from streams.stream cimport Stream
