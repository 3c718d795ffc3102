import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.mail.internet.MimeBodyPart;
import javax.mail.internet.MimeMessage;
import javax.mail.internet.MimeMultipart;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERNull;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.pkcs.RSAESOAEPparams;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSAuthEnvelopedData;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.KeyAgreeRecipientInformation;
import org.bouncycastle.cms.Recipient;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.RecipientInformationStore;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyAgreeEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyTransAuthEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.mail.smime.SMIMESigned;
import org.bouncycastle.mail.smime.SMIMESignedGenerator;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;

/**
 * Bouncy Castle as an S/MIME client that answers on standard output, one line a request. A request is a verb and its
 * arguments, words as they are and bytes in base64 ("-": none), between blanks; an answer is `ok` and results in the
 * same form, or `no` and the exception. Signatures go through the mail API, so MIME in and out; encryption through
 * the CMS API, DER in and out, for bcmail 1.72 has no AuthEnvelopedData.
 */
public class SmimePeer {
  public static void main(String[] args) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    PrintStream answers = System.out;
    System.setOut(System.err);
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      answers.println(answer(line.split(" ")));
      answers.flush();
    }
  }

  static String answer(String[] words) {
    try {
      return switch (words[0]) {
        case "version" -> ok(text(Security.getProvider("BC").getVersionStr()));
        case "sign" ->
            ok(sign(words[1], words[2], key(words[3]), certificate(words[4]), bytes(words[5])));
        case "verify" -> verify(certificate(words[1]), bytes(words[2]));
        case "encrypt" -> ok(encrypt(words[1], words[2], certificate(words[3]), bytes(words[4])));
        case "decrypt" -> ok(decrypt(key(words[1]), certificate(words[2]), bytes(words[3])));
        default -> throw new IllegalArgumentException("no verb " + words[0]);
      };
    } catch (Throwable problem) {
      return "no " + base64(text(chain(problem)));
    }
  }

  /** An entity signed with a JCA algorithm such as SHA256withRSA; `form` is detached or opaque. */
  static byte[] sign(
      String form, String algorithm, PrivateKey key, X509Certificate certificate, byte[] entity)
      throws Exception {
    SMIMESignedGenerator generator = new SMIMESignedGenerator();
    generator.addSignerInfoGenerator(
        new JcaSimpleSignerInfoGeneratorBuilder()
            .setProvider("BC")
            .build(algorithm, key, certificate));
    generator.addCertificates(new JcaCertStore(List.of(certificate)));
    MimeBodyPart content = new MimeBodyPart(new ByteArrayInputStream(entity));
    if (form.equals("opaque")) return written(generator.generateEncapsulated(content));
    MimeBodyPart whole = new MimeBodyPart();
    MimeMultipart parts = generator.generate(content);
    whole.setContent(parts, parts.getContentType());
    whole.setHeader("Content-Type", parts.getContentType());
    return written(whole);
  }

  /** Answers `ok intact trusted content said`, the first two as 1 or 0. */
  static String verify(X509Certificate ca, byte[] message) throws Exception {
    MimeMessage mail = new MimeMessage(null, new ByteArrayInputStream(message));
    boolean opaque = !mail.isMimeType("multipart/signed");
    SMIMESigned signed =
        opaque ? new SMIMESigned(mail) : new SMIMESigned((MimeMultipart) mail.getContent());
    List<String> said = new ArrayList<>();
    boolean intact = signed.getSignerInfos().size() > 0;
    boolean trusted = intact;
    for (SignerInformation signer : signed.getSignerInfos()) {
      X509CertificateHolder holder =
          (X509CertificateHolder)
              signed.getCertificates().getMatches(signer.getSID()).iterator().next();
      X509Certificate certificate = new JcaX509CertificateConverter().getCertificate(holder);
      try {
        boolean good =
            signer.verify(
                new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(certificate));
        said.add("verify: " + good);
        if (!good) intact = false;
      } catch (Exception problem) {
        said.add("verify: " + chain(problem));
        intact = false;
      }
      try {
        checkPath(ca, certificate);
        said.add("path: good");
      } catch (Exception problem) {
        said.add("path: " + chain(problem));
        trusted = false;
      }
    }
    byte[] content = intact ? written(signed.getContent()) : new byte[0];
    String flags = " " + (intact ? 1 : 0) + " " + (intact && trusted ? 1 : 0);
    return "ok" + flags + " " + base64(content) + " " + base64(text(String.join("; ", said)));
  }

  static void checkPath(X509Certificate ca, X509Certificate certificate) throws Exception {
    X509CertSelector target = new X509CertSelector();
    target.setCertificate(certificate);
    PKIXBuilderParameters parameters =
        new PKIXBuilderParameters(Set.of(new TrustAnchor(ca, null)), target);
    parameters.setRevocationEnabled(false);
    parameters.addCertStore(
        java.security.cert.CertStore.getInstance(
            "Collection",
            new java.security.cert.CollectionCertStoreParameters(List.of(certificate))));
    CertPathBuilder.getInstance("PKIX", "BC").build(parameters);
  }

  static final Map<String, ASN1ObjectIdentifier> CIPHERS =
      Map.of(
          "aes-128-cbc", CMSAlgorithm.AES128_CBC,
          "aes-256-cbc", CMSAlgorithm.AES256_CBC,
          "aes-256-gcm", CMSAlgorithm.AES256_GCM);

  /** EnvelopedData, or AuthEnvelopedData for GCM; `transport` is rsa, rsa-oaep-sha256 or ecdh. */
  static byte[] encrypt(
      String cipher, String transport, X509Certificate certificate, byte[] content)
      throws Exception {
    OutputEncryptor encryptor =
        new JceCMSContentEncryptorBuilder(CIPHERS.get(cipher)).setProvider("BC").build();
    RecipientInfoGenerator recipient = recipientInfo(transport, certificate);
    CMSProcessableByteArray data = new CMSProcessableByteArray(content);
    if (encryptor instanceof OutputAEADEncryptor aead) {
      CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
      generator.addRecipientInfoGenerator(recipient);
      return generator.generate(data, aead).getEncoded();
    }
    CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
    generator.addRecipientInfoGenerator(recipient);
    return generator.generate(data, encryptor).getEncoded();
  }

  static RecipientInfoGenerator recipientInfo(String transport, X509Certificate certificate)
      throws Exception {
    switch (transport) {
      case "rsa":
        return new JceKeyTransRecipientInfoGenerator(certificate).setProvider("BC");
      case "rsa-oaep-sha256":
        AlgorithmIdentifier sha256 = new AlgorithmIdentifier(CMSAlgorithm.SHA256, DERNull.INSTANCE);
        RSAESOAEPparams parameters =
            new RSAESOAEPparams(
                sha256,
                new AlgorithmIdentifier(PKCSObjectIdentifiers.id_mgf1, sha256),
                RSAESOAEPparams.DEFAULT_P_SOURCE_ALGORITHM);
        return new JceKeyTransRecipientInfoGenerator(
                certificate,
                new AlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP, parameters))
            .setProvider("BC");
      case "ecdh":
        String kind = certificate.getPublicKey().getAlgorithm();
        boolean weierstrass = kind.equals("EC");
        KeyPairGenerator keys = KeyPairGenerator.getInstance(weierstrass ? "EC" : kind, "BC");
        if (weierstrass) keys.initialize(new ECGenParameterSpec("P-256"));
        KeyPair ephemeral = keys.generateKeyPair();
        ASN1ObjectIdentifier scheme =
            weierstrass
                ? CMSAlgorithm.ECDH_SHA256KDF
                : PKCSObjectIdentifiers.id_smime.branch("3.19"); // RFC 8418: HKDF with SHA-256.
        return new JceKeyAgreeRecipientInfoGenerator(
                scheme, ephemeral.getPrivate(), ephemeral.getPublic(), CMSAlgorithm.AES256_WRAP)
            .setProvider("BC")
            .addRecipient(certificate);
      default:
        throw new IllegalArgumentException("no key transport " + transport);
    }
  }

  static byte[] decrypt(PrivateKey key, X509Certificate certificate, byte[] der) throws Exception {
    ContentInfo info = ContentInfo.getInstance(der);
    boolean authenticated = info.getContentType().equals(CMSObjectIdentifiers.authEnvelopedData);
    RecipientInformationStore store =
        authenticated
            ? new CMSAuthEnvelopedData(der).getRecipientInfos()
            : new CMSEnvelopedData(der).getRecipientInfos();
    X509CertificateHolder holder = new X509CertificateHolder(certificate.getEncoded());
    for (RecipientInformation recipient : store) {
      if (!recipient.getRID().match(holder)) continue;
      boolean agreement = recipient instanceof KeyAgreeRecipientInformation;
      return recipient.getContent(opener(key, agreement, authenticated));
    }
    throw new IllegalArgumentException("no recipient of this message has this certificate");
  }

  static Recipient opener(PrivateKey key, boolean agreement, boolean authenticated)
      throws Exception {
    // 1.72 has no such class; by name, for a later one that has.
    if (agreement && authenticated)
      return (Recipient)
          Class.forName("org.bouncycastle.cms.jcajce.JceKeyAgreeAuthEnvelopedRecipient")
              .getConstructor(PrivateKey.class)
              .newInstance(key);
    if (agreement) return new JceKeyAgreeEnvelopedRecipient(key).setProvider("BC");
    return authenticated
        ? new JceKeyTransAuthEnvelopedRecipient(key).setProvider("BC")
        : new JceKeyTransEnvelopedRecipient(key).setProvider("BC");
  }

  static PrivateKey key(String word) throws Exception {
    byte[] der = bytes(word);
    String algorithm =
        PrivateKeyInfo.getInstance(der).getPrivateKeyAlgorithm().getAlgorithm().getId();
    return KeyFactory.getInstance(algorithm, "BC").generatePrivate(new PKCS8EncodedKeySpec(der));
  }

  static X509Certificate certificate(String word) throws Exception {
    CertificateFactory factory = CertificateFactory.getInstance("X.509", "BC");
    return (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(bytes(word)));
  }

  static byte[] written(MimeBodyPart part) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    part.writeTo(out);
    return out.toByteArray();
  }

  static String chain(Throwable problem) {
    List<String> said = new ArrayList<>();
    for (Throwable one = problem; one != null; one = one.getCause()) said.add(one.toString());
    return String.join(" <- ", said);
  }

  static byte[] text(String words) {
    return words.getBytes(StandardCharsets.UTF_8);
  }

  static byte[] bytes(String word) {
    return word.equals("-") ? new byte[0] : Base64.getDecoder().decode(word);
  }

  static String base64(byte[] octets) {
    return octets.length == 0 ? "-" : Base64.getEncoder().encodeToString(octets);
  }

  static String ok(byte[] octets) {
    return "ok " + base64(octets);
  }
}
