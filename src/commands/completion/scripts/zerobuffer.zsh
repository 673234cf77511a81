#compdef zerobuffer
# zsh completion for zerobuffer. In ~/.zshrc, after compinit: source <(zerobuffer completion zsh)
# Or put this file into a directory of $fpath, as _zerobuffer.

_zerobuffer() {
  local line answer
  local -a offers
  answer=$("${words[1]/#\~/$HOME}" complete "--word=${(Q)PREFIX}" -- "${(@Q)words[2,CURRENT-1]}" 2>/dev/null)
  if [[ $answer == :files ]]; then
    if [[ $PREFIX == --*=* ]]; then compset -P '*='; fi
    _files
    return
  fi
  for line in ${(f)answer}; do
    # _describe takes VALUE:DESCRIPTION.
    offers+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  _describe zerobuffer offers
}

# Loaded from $fpath, this file is the body of the function when it is called first.
if [[ ${funcstack[1]} == _zerobuffer ]]; then
  _zerobuffer "$@"
else
  compdef _zerobuffer zerobuffer
fi
