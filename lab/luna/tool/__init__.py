"""The programs behind the stand-ins `vtl` and `lunacm`: standard library only, started without site packages."""
