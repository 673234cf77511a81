# fish completion for zerobuffer. In ~/.config/fish/config.fish: zerobuffer completion fish | source
# Or put this file into ~/.config/fish/completions.

function __zerobuffer_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l word (commandline --current-token --cut-at-cursor)
    set -l program (string replace --regex '^~' $HOME -- $words[1])
    for line in ($program complete "--word=$word" -- $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            set -l head (string match --regex -- '^--[^=]+=' "$word")
            for path in (__fish_complete_path (string replace --regex -- '^--[^=]+=' '' "$word"))
                echo "$head$path"
            end
        else
            echo $line
        end
    end
end

complete --command zerobuffer --no-files --arguments '(__zerobuffer_complete)'
