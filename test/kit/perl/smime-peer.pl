# Crypt::SMIME, with which Sympa signs and encrypts: one verb a run, the message on standard input and output.
#   version | sign KEY CERT | encrypt CERT | check CA | decrypt KEY CERT      (KEY, CERT, CA: names of PEM files)
use strict;
use warnings;
use Crypt::SMIME;

my ( $verb, @files ) = @ARGV;
binmode STDIN;
binmode STDOUT;

sub text_of {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

if ( $verb eq 'version' ) {
    print $Crypt::SMIME::VERSION;
    exit;
}
my $message = do { local $/; <STDIN> };
my $smime   = Crypt::SMIME->new;
my %verbs   = (
    sign    => sub { $smime->setPrivateKey( map { text_of($_) } @files ); $smime->sign($message) },
    encrypt => sub { $smime->setPublicKey( text_of( $files[0] ) ); $smime->encrypt($message) },
    check   => sub { $smime->setPublicKeyStore( $files[0] ); $smime->check($message) },
    intact  => sub { $smime->check( $message, Crypt::SMIME::NO_CHECK_CERTIFICATE() ) },
    decrypt => sub { $smime->setPrivateKey( map { text_of($_) } @files ); $smime->decrypt($message) },
);
die "no verb $verb\n" unless $verbs{$verb};
print $verbs{$verb}->();
