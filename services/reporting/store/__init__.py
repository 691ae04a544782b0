"""Keep events durably and answer reports from them."""
