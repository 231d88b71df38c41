# Evaluates a Homebrew formula without Homebrew, and prints its address, its checksum and the steps of its installation:
#   ruby formula.rb FORMULA
require "pathname"

# The part of Homebrew's class that the formula uses.
class Formula
  class << self
    %w[homepage url version sha256].each do |name|
      define_method(name) { |value| puts "#{name} #{value}" }
    end

    def desc(text)
      raise "desc: found #{text.length} characters, expected at most 80" if text.length > 80
    end

    def license(_names); end

    def depends_on(_names); end

    def test(&block)
      raise "test: found no block" unless block
    end
  end

  # A folder that prints what is installed in it.
  class Folder < Pathname
    def install(*files)
      files.each { |file| puts "install #{file}" }
    end
  end

  def system(*command)
    puts "run #{command.join(' ')}"
  end

  def prefix = Folder.new("/prefix")

  def bin = Folder.new("/prefix/bin")

  def pkgshare = Folder.new("/prefix/share/florence2")

  def generate_completions_from_executable(_program, *_arguments); end
end

load ARGV.fetch(0)
Florence2.new.install
