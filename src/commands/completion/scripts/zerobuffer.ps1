# PowerShell completion for zerobuffer. In $PROFILE: zerobuffer completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName @('zerobuffer', 'zerobuffer.exe') -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $program, $elements = $commandAst.CommandElements
    $words = @($elements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { $_.Extent.Text })
    $answer = @(& $program.Extent.Text complete "--word=$wordToComplete" '--' @words 2>$null)

    # Without an answer PowerShell offers files.
    if ($answer[0] -eq ':files') { return }
    if ($answer.Count -eq 0) { return '' }
    foreach ($line in $answer) {
        $value, $description = $line -split "`t", 2
        $tip = if ($description) { $description } else { $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $tip)
    }
}
