"""The parent: plan, launch, watch, store. It never imports torch."""
