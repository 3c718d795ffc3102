#!/usr/bin/perl
# Reads { variables, sources } as JSON and prints what Perl's Template Toolkit makes of each source: its output, or
# { "error": "syntax" } or { "error": "run" }.
use strict;
use warnings;
use JSON::PP;
use Template;

$SIG{__WARN__} = sub { };    # texts used as numbers are meant
my $json = JSON::PP->new->utf8;
my $input = do { local $/; <STDIN> };
my $sources = $json->decode($input)->{sources};
my @results;
for my $source (@$sources) {
    my $variables = $json->decode($input)->{variables};
    my $tt = Template->new;
    my $output = '';
    my $done = $tt->process(\$source, $variables, \$output);
    push @results, $done ? $output : { error => $tt->error->info =~ /parse error/ ? 'syntax' : 'run' };
}
print $json->encode(\@results);
