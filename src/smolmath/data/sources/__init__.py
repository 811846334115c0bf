"""Where raw rows come from: a module per source, with fetch(params, out, state) -> {"files": [{"path", "side"}], …}.

`out` receives the files; `state` survives a kill, for what a source would rather not begin again.
"""
