#!/usr/bin/perl
# Renders every golden template with Perl's Template Toolkit and prints { name: output } as JSON; with --write it also
# writes the .out files. Usage: golden.pl [--write] GOLDEN-FOLDER MAIL_TT2-FOLDER
# loc, qencode and wrap are Sympa's, not TT2's: they are written here from their description (src/template/README.md).
use strict;
use warnings;
use utf8;
use JSON::PP;
use Template;

my $write = @ARGV && $ARGV[0] eq '--write' ? shift : 0;
my ($golden, $shipped) = @ARGV;
$SIG{__WARN__} = sub { };    # texts used as numbers are meant
my $json = JSON::PP->new->utf8->canonical;

sub slurp {
    open my $in, '<:raw', $_[0] or die "$_[0]: $!";
    local $/;
    return <$in>;
}

# JSON's true and false are 1 and '' for a template, as they would be in Perl.
sub plain {
    my $value = shift;
    return [map { plain($_) } @$value] if ref $value eq 'ARRAY';
    return { map { $_ => plain($value->{$_}) } keys %$value } if ref $value eq 'HASH';
    return JSON::PP::is_bool($value) ? ($value ? 1 : '') : $value;
}

sub pad { my $pad = shift; return !defined $pad ? '' : $pad =~ /^\d+$/ ? ' ' x $pad : $pad }

sub fold {
    my ($line, $init, $subs, $columns) = @_;
    my @lines = ($init);
    my $words = 0;
    for my $word (grep { length } split /[ \t]+/, $line) {
        if ($words && length("$lines[-1] $word") > $columns) { push @lines, $subs . $word }
        else { $lines[-1] .= ($words ? ' ' : '') . $word }
        $words++;
    }
    return $words ? join("\n", @lines) : '';
}

my %filters = (
    qencode => sub { "=?$_[0]?=" },
    loc => [sub {
        my ($context, @args) = @_;
        return sub {
            my $text = shift;
            $text = 'Guten Tag, %1!' if $text eq 'Good morning, %1!';
            $text =~ s/%([%1-9])/$1 eq '%' ? '%' : defined $args[$1 - 1] ? $args[$1 - 1] : ''/eg;
            return $text;
        };
    }, 1],
    wrap => [sub {
        my ($context, $init, $subs, $columns) = @_;
        return sub {
            my $text = shift;
            my $end = $text =~ s/\n\z// ? "\n" : '';
            return join("\n", map { fold($_, pad($init), pad($subs), $columns || 78) } split(/\n/, $text, -1)) . $end;
        };
    }, 1],
);

my %results;
for my $path (sort glob "$golden/*.tt2") {
    my ($name) = $path =~ m{([^/]+)\.tt2\z};
    my $variables = -e "$golden/$name.json" ? "$golden/$name.json" : "$golden/variables.json";
    my $tt = Template->new(INCLUDE_PATH => [$golden, $shipped], ENCODING => 'utf8', FILTERS => \%filters);
    my $output = '';
    $tt->process("$name.tt2", plain($json->decode(slurp($variables))), \$output) or die "$name: " . $tt->error;
    $results{$name} = $output;
    next unless $write;
    open my $out, '>:encoding(UTF-8)', "$golden/$name.out" or die "$name.out: $!";
    print $out $output;
    close $out or die "$name.out: $!";
}
print $json->encode(\%results);
