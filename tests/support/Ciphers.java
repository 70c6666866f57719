import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.crypto.Cipher;
import javax.crypto.KeyGenerator;
import javax.crypto.spec.SecretKeySpec;

/**
 * What a platform in Java makes and reads: one argument a value, one line an answer.
 *
 * <p>Arguments: an AES key of 16 characters, a text, the same text under AES as we wrote it, a seed
 * for SHA1PRNG, an RSA private key (PKCS #8 DER in base64), a text under its public half. Answers:
 * our AES text opened; the text under AES in one line, in lines with LF, in lines with CR LF (ends
 * of lines as \n and \r); the key that the seed gives, in hexadecimal; our RSA text opened.
 */
public class Ciphers {
    public static void main(String[] given) throws Exception {
        SecretKeySpec key = new SecretKeySpec(given[0].getBytes(StandardCharsets.UTF_8), "AES");
        Cipher aes = Cipher.getInstance("AES/ECB/PKCS5Padding");
        aes.init(Cipher.DECRYPT_MODE, key);
        byte[] opened = aes.doFinal(Base64.getMimeDecoder().decode(given[2]));
        say(new String(opened, StandardCharsets.UTF_8));

        aes.init(Cipher.ENCRYPT_MODE, key);
        byte[] sealed = aes.doFinal(given[1].getBytes(StandardCharsets.UTF_8));
        say(Base64.getEncoder().encodeToString(sealed));
        byte[] lineFeed = {'\n'};
        say(Base64.getMimeEncoder(76, lineFeed).encodeToString(sealed));
        say(Base64.getMimeEncoder().encodeToString(sealed));

        SecureRandom random = SecureRandom.getInstance("SHA1PRNG");
        random.setSeed(given[3].getBytes(StandardCharsets.UTF_8));
        KeyGenerator generator = KeyGenerator.getInstance("AES");
        generator.init(128, random);
        StringBuilder hex = new StringBuilder();
        for (byte one : generator.generateKey().getEncoded()) {
            hex.append(String.format("%02x", one));
        }
        say(hex.toString());

        PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(given[4]));
        PrivateKey secret = KeyFactory.getInstance("RSA").generatePrivate(spec);
        Cipher rsa = Cipher.getInstance("RSA");
        rsa.init(Cipher.DECRYPT_MODE, secret);
        say(new String(rsa.doFinal(Base64.getDecoder().decode(given[5])), StandardCharsets.UTF_8));
    }

    private static void say(String text) {
        System.out.println(text.replace("\r", "\\r").replace("\n", "\\n"));
    }
}
