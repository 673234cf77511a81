# Stands in for Homebrew, as far as a formula needs it.
#
#   ruby formula.rb FORMULA SYSTEM PROCESSOR ARCHIVES PREFIX
#
# Takes the archive that the formula names for the machine (macos or linux, arm or intel) from the directory ARCHIVES, compares its
# hash, installs it below PREFIX, and runs the formula's test. Without PREFIX it only compares. Prints the name of the archive.

require "digest"
require "pathname"
require "tmpdir"

FORMULA, SYSTEM, PROCESSOR, ARCHIVES, PREFIX = ARGV

class Formula
  class << self
    attr_reader :values, :test_block

    %i[desc homepage version license url sha256].each do |name|
      define_method(name) do |value = nil|
        @values ||= {}
        raise "#{name} is set twice" if value && @values.key?(name)

        value ? @values[name] = value : @values.fetch(name)
      end
    end

    { macos: SYSTEM, linux: SYSTEM, arm: PROCESSOR, intel: PROCESSOR }.each do |name, machine|
      define_method(:"on_#{name}") { |&block| block.call if name.to_s == machine }
    end

    def test(&block) = @test_block = block
  end

  def version = self.class.version
  def prefix = Pathname(PREFIX)
  def bin = prefix/"bin"

  def shell_output(command)
    output = `#{command}`
    raise "#{command} fails" unless $?.success?

    output
  end

  def assert_match(expected, text) = text.include?(expected) || raise("#{text} lacks #{expected}")
end

class Pathname
  def install(*sources)
    sources.flat_map { |source| source.is_a?(Hash) ? source.to_a : [[source, File.basename(source)]] }.each do |from, to|
      mkpath
      File.rename(from, self/to)
    end
  end
end

load FORMULA
archive = File.join(ARCHIVES, File.basename(Zerobuffer.url))
raise "the hash of #{archive} is another" unless Digest::SHA256.file(archive).hexdigest == Zerobuffer.sha256

if PREFIX
  Dir.mktmpdir(nil, File.dirname(PREFIX)) do |directory|
    system("tar", "-xzf", archive, "-C", directory, exception: true)
    # Homebrew enters the only directory of an archive.
    Dir.chdir(Dir.children(directory).map { |name| File.join(directory, name) }.fetch(0)) { Zerobuffer.new.install }
  end
  Zerobuffer.new.instance_exec(&Zerobuffer.test_block)
end
puts File.basename(archive)
