#!/bin/sh
# Installs zerobuffer. `sh install.sh --help` tells how.
#
# Nothing is put into place before its hash is right and it has been seen to run; what is put into place is complete. All of this
# is functions, called by the last line, whose end is part of its syntax: a script that a broken download has cut does nothing.
set -eu

# A release has its address here.
from=''
prefix=''
target=''
uninstalls=''

usage() {
  cat <<'END'
Installs zerobuffer: the executable for this machine, its manual page and its completions.

  sh install.sh [--from DIRECTORY|URL] [--prefix DIRECTORY] [--target NAME]
  sh install.sh --uninstall [--prefix DIRECTORY]
  curl -fsSL ADDRESS/install.sh | sh -s -- [OPTIONS]

  --from       where zerobuffer-TARGET.tar.gz and SHA256SUMS are; the release that this script came with by default
  --prefix     what bin/ and share/ are below; /usr/local for root and ~/.local for others by default
  --target     the executable to take, instead of the one for this machine: linux-x64-baseline
  --uninstall  removes what was installed below the prefix
END
}

say() { printf 'install.sh: %s\n' "$*"; }

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --from | --prefix | --target)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
          --from) from=$2 ;;
          --prefix) prefix=$2 ;;
          --target) target=$2 ;;
        esac
        shift 2
        ;;
      --uninstall)
        uninstalls=yes
        shift
        ;;
      -h | --help)
        usage
        exit 0
        ;;
      *) fail "unknown argument $1 (--help shows those there are)" ;;
    esac
  done
}

# ---- which one ------------------------------------------------------------------------------------------------------

find_linux_libc() {
  # A machine with glibc may have musl, too, so glibc is asked for first.
  if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    echo glibc
  elif ldd --version 2>&1 | grep -qi musl; then
    echo musl
  else
    fail 'cannot tell which C library this system has; choose with --target linux-x64 or --target linux-x64-musl'
  fi
}

find_target() {
  machine=$(uname -m)
  case $(uname -s) in
    Linux) system=linux ;;
    Darwin)
      system=darwin
      # A shell that runs translated is told of an Intel processor.
      if [ "$(sysctl -n hw.optional.arm64 2>/dev/null)" = 1 ]; then machine=arm64; fi
      ;;
    MINGW* | MSYS* | CYGWIN* | Windows_NT)
      fail 'on Windows, unpack zerobuffer-windows-x64.zip into a directory of PATH' ;;
    *) fail "there is no executable for $(uname -s)" ;;
  esac
  case $machine in
    x86_64 | amd64) processor=x64 ;;
    aarch64 | arm64) processor=arm64 ;;
    *) fail "there is no executable for processors of type $machine" ;;
  esac
  variant=''
  if [ "$system" = linux ]; then
    libc=$(find_linux_libc) || exit 1
    if [ "$libc" = musl ]; then variant=-musl; fi
    if [ "$processor" = x64 ] && ! grep -qw avx2 /proc/cpuinfo; then
      [ -z "$variant" ] || fail 'with musl, x64 processors need AVX2, which this one has not'
      variant=-baseline
    fi
  fi
  echo "$system-$processor$variant"
}

find_prefix() {
  if [ -z "$prefix" ]; then
    if [ "$(id -u)" = 0 ]; then
      prefix=/usr/local
    else
      prefix=${HOME:?is not set: use --prefix}/.local
    fi
  fi
  case $prefix in
    /*) ;;
    *) prefix=$(pwd)/$prefix ;;
  esac
  program=$prefix/bin/zerobuffer
  manual=$prefix/share/man/man1/zerobuffer.1
  bash=$prefix/share/bash-completion/completions/zerobuffer
  zsh=$prefix/share/zsh/site-functions/_zerobuffer
  fish=$prefix/share/fish/vendor_completions.d/zerobuffer.fish
}

# ---- what is removed however this ends ------------------------------------------------------------------------------

work=''
staged=''
made=''

clean_up() {
  # Names are separated by newlines, as paths may have blanks.
  printf '%s' "$staged" | while IFS= read -r path; do rm -f "$path"; done
  printf '%s' "$made" | while IFS= read -r path; do rmdir "$path" 2>/dev/null || true; done
  [ -z "$work" ] || rm -rf "$work"
}

# ---- the archive ----------------------------------------------------------------------------------------------------

fetch() {
  case $from in
    http://* | https://*)
      if command -v curl >/dev/null 2>&1; then
        curl -fsSL -o "$work/$1" "$from/$1"
      elif command -v wget >/dev/null 2>&1; then
        wget -qO "$work/$1" "$from/$1"
      else
        fail 'neither curl nor wget is here: download the files, and name their directory with --from'
      fi
      ;;
    *) cp "$from/$1" "$work/$1" 2>/dev/null ;;
  esac || fail "cannot get $1 from $from"
}

hash_of() {
  if command -v sha256sum >/dev/null 2>&1; then
    sum=$(sha256sum <"$1")
  elif command -v shasum >/dev/null 2>&1; then
    sum=$(shasum -a 256 <"$1")
  else
    fail 'neither sha256sum nor shasum is here: the archive cannot be checked'
  fi
  echo "${sum%% *}"
}

fetch_archive() {
  fetch SHA256SUMS
  expected=$(awk -v file="$archive" '$2 == file { print $1 }' "$work/SHA256SUMS")
  [ -n "$expected" ] || fail "SHA256SUMS of $from has no $archive"
  fetch "$archive"
  found=$(hash_of "$work/$archive") || exit 1
  [ "$found" = "$expected" ] ||
    fail "$archive has the hash $found, and SHA256SUMS says $expected: nothing is installed"
  tar -xzf "$work/$archive" -C "$work" || fail "$archive cannot be unpacked"
}

# ---- into place -----------------------------------------------------------------------------------------------------

make_directory() {
  if [ -d "$1" ]; then return; fi
  make_directory "$(dirname "$1")"
  mkdir "$1" 2>/dev/null || fail "cannot make the directory $1; choose another with --prefix"
  # The last one that was made is the first to be removed.
  made="$1
$made"
}

# stage FILE PLACE MODE: beside its place, so that it gets there by a rename.
stage() {
  make_directory "$(dirname "$2")"
  copy=$(dirname "$2")/.zerobuffer-install.$$.$(basename "$2")
  staged="$copy
$staged"
  { cp "$1" "$copy" && chmod "$3" "$copy"; } 2>/dev/null ||
    fail "cannot write into $(dirname "$2"); choose another directory with --prefix"
}

# place PLACE
place() {
  mv -f "$(dirname "$1")/.zerobuffer-install.$$.$(basename "$1")" "$1"
}

install() {
  if [ -z "$target" ]; then target=$(find_target) || exit 1; fi
  [ -n "$from" ] || fail 'this copy came with no release: say where its files are, with --from DIRECTORY or --from URL'
  archive=zerobuffer-$target.tar.gz
  work=$(mktemp -d 2>/dev/null) || fail 'cannot make a temporary directory; set TMPDIR to one that is writable'
  fetch_archive

  files=$work/zerobuffer-$target
  [ ! -d "$program" ] || fail "$program is a directory"
  stage "$files/zerobuffer" "$program" 755
  stage "$files/zerobuffer.1" "$manual" 644
  stage "$files/completions/zerobuffer.bash" "$bash" 644
  stage "$files/completions/_zerobuffer" "$zsh" 644
  stage "$files/completions/zerobuffer.fish" "$fish" 644
  version=$("$prefix/bin/.zerobuffer-install.$$.zerobuffer" --version </dev/null) ||
    fail "the executable for $target does not run here; choose another with --target"

  for path in "$manual" "$bash" "$zsh" "$fish" "$program"; do place "$path"; done
  staged=''
  made=''

  say "installed $version"
  say "  $program"
  say "  $manual"
  say "  completions for bash, zsh and fish below $prefix/share"
  case :$PATH: in
    *":$prefix/bin:"*) ;;
    *)
      say "$prefix/bin is not in PATH. In the profile of your shell:"
      say "  export PATH=\"$prefix/bin:\$PATH\""
      ;;
  esac
}

uninstall() {
  [ -f "$program" ] || fail "there is no $program: nothing is removed"
  for path in "$program" "$manual" "$bash" "$zsh" "$fish"; do
    rm -f "$path" 2>/dev/null || fail "cannot remove $path"
    say "removed $path"
  done
}

main() {
  read_options "$@"
  # Others must be able to read what root installs, whatever root's own files are like.
  umask 022
  find_prefix
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if [ -n "$uninstalls" ]; then uninstall; else install; fi
}

{ main "$@"; }
