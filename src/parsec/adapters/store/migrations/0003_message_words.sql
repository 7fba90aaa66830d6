-- needs: text index
-- Words of the message. Without it every question about words reads the messages: slower, never wrong.
ALTER TABLE events ADD INDEX IF NOT EXISTS message_words lower(message) TYPE text(tokenizer = 'splitByNonAlpha');
