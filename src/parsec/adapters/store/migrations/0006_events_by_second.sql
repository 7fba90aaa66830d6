-- replaces: events of 1, 3 without paths
-- Events in their second form, one row per stored position. Decision 0017 has the measurements; 0001 those of what stayed.
-- Rows of the first form are in events_before_6 until parsec.adapters.store.backfill has copied them.
--
-- attributes is what metadata is searched by. The engine makes it while inserting: a text stays a text, whatever it
-- looks like (the two settings of parsec.adapters.store.clickhouse go with each insert; mutations ignore them, so that
-- attributes must never be materialized by one), and a list keeps all its values. Where the engine cannot read the text,
-- attributes is empty, so nothing in metadata can fail an insert; for such rows the insert brings search_text.
-- words: those of messages that are not plain ASCII; made, as the index, of parsec.query.sql.words (decision 0018).
-- paths: all paths of attributes, as a JSON list: few different ones, so that listing fields costs milliseconds.
CREATE TABLE IF NOT EXISTS events
(
    tenant_id LowCardinality(String),
    timestamp DateTime64(9, 'UTC') CODEC(GCD, ZSTD(1)),
    severity LowCardinality(String),
    source LowCardinality(String),
    message String CODEC(ZSTD(1)),
    metadata String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    received_at DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    region LowCardinality(String),
    node LowCardinality(String),
    log_id LowCardinality(String),
    partition UInt32,
    offset UInt64 CODEC(Delta, ZSTD(1)),
    expires_on Date,
    search_text String EPHEMERAL,
    attributes JSON(max_dynamic_paths = 64, max_dynamic_types = 8)
        MATERIALIZED ifNull(
            accurateCastOrNull(
                if(empty(search_text), metadata, search_text), 'JSON(max_dynamic_paths = 64, max_dynamic_types = 8)'),
            CAST('{}', 'JSON(max_dynamic_paths = 64, max_dynamic_types = 8)'))
        CODEC(ZSTD(1)),
    paths LowCardinality(String) MATERIALIZED toJSONString(JSONAllPaths(attributes)),
    words String
        MATERIALIZED concat(if(isASCII(message) AND position(message, '\x1b') = 0, '', ' '), replaceAll(lower(translateUTF8(arrayStringConcat(extractAll(replaceRegexpAll(if(isASCII(message) AND position(message, '\x1b') = 0, '', message), '(?:\\x1b\\[|\\x{9b})[0-?]*[ -/]*[@-~]?|\\x1b(?:\\][0-9]*|[ -/]*[0-~])?', ' '), '[\\x{e01}-\\x{e3e}\\x{e40}-\\x{e4e}\\x{e50}-\\x{e59}\\x{e5c}-\\x{eff}\\x{1000}-\\x{1049}\\x{1050}-\\x{109d}\\x{1100}-\\x{11ff}\\x{1780}-\\x{17d3}\\x{17d7}\\x{17dc}-\\x{17ff}\\x{3005}-\\x{3007}\\x{3021}-\\x{302f}\\x{3031}-\\x{3035}\\x{3038}-\\x{303c}\\x{3041}-\\x{309a}\\x{309d}-\\x{309f}\\x{30a1}-\\x{30fa}\\x{30fc}-\\x{30ff}\\x{3105}-\\x{318e}\\x{31a0}-\\x{31bf}\\x{31f0}-\\x{31ff}\\x{3400}-\\x{4dbf}\\x{4e00}-\\x{9fff}\\x{a960}-\\x{a97f}\\x{a9e0}-\\x{a9ff}\\x{aa60}-\\x{aa76}\\x{aa7a}-\\x{aa7f}\\x{ac00}-\\x{d7ff}\\x{f900}-\\x{faff}\\x{ff66}-\\x{ffdc}\\x{1aff0}-\\x{1b2ff}\\x{20000}-\\x{3ffff}]|[^\\x00-/:-@\\[-`{-\\x7f\\x{80}-\\x{a9}\\x{ab}-\\x{b1}\\x{b4}\\x{b6}-\\x{b8}\\x{bb}\\x{bf}\\x{d7}\\x{f7}\\x{2c2}-\\x{2c5}\\x{2d2}-\\x{2df}\\x{2e5}-\\x{2eb}\\x{2ed}\\x{2ef}-\\x{2ff}\\x{375}\\x{37e}\\x{384}-\\x{385}\\x{387}\\x{3f6}\\x{482}\\x{55a}-\\x{55f}\\x{589}-\\x{58f}\\x{5be}\\x{5c0}\\x{5c3}\\x{5c6}\\x{5f3}-\\x{60f}\\x{61b}-\\x{61f}\\x{66a}-\\x{66d}\\x{6d4}\\x{6dd}-\\x{6de}\\x{6e9}\\x{6fd}-\\x{6fe}\\x{700}-\\x{70f}\\x{7f6}-\\x{7f9}\\x{7fe}-\\x{7ff}\\x{830}-\\x{83e}\\x{85e}\\x{888}\\x{890}-\\x{891}\\x{8e2}\\x{964}-\\x{965}\\x{970}\\x{9f2}-\\x{9f3}\\x{9fa}-\\x{9fb}\\x{9fd}\\x{a76}\\x{af0}-\\x{af1}\\x{b70}\\x{bf3}-\\x{bfa}\\x{c77}\\x{c7f}\\x{c84}\\x{d4f}\\x{d79}\\x{df4}\\x{e3f}\\x{e4f}\\x{e5a}-\\x{e5b}\\x{f01}-\\x{f17}\\x{f1a}-\\x{f1f}\\x{f34}\\x{f36}\\x{f38}\\x{f3a}-\\x{f3d}\\x{f85}\\x{fbe}-\\x{fc5}\\x{fc7}-\\x{fda}\\x{104a}-\\x{104f}\\x{109e}-\\x{109f}\\x{10fb}\\x{1360}-\\x{1368}\\x{1390}-\\x{1399}\\x{1400}\\x{166d}-\\x{166e}\\x{1680}\\x{169b}-\\x{169c}\\x{16eb}-\\x{16ed}\\x{1735}-\\x{1736}\\x{17d4}-\\x{17d6}\\x{17d8}-\\x{17db}\\x{1800}-\\x{180a}\\x{180e}\\x{1940}-\\x{1945}\\x{19de}-\\x{19ff}\\x{1a1e}-\\x{1a1f}\\x{1aa0}-\\x{1aa6}\\x{1aa8}-\\x{1aad}\\x{1b5a}-\\x{1b6a}\\x{1b74}-\\x{1b7e}\\x{1bfc}-\\x{1bff}\\x{1c3b}-\\x{1c3f}\\x{1c7e}-\\x{1c7f}\\x{1cc0}-\\x{1cc7}\\x{1cd3}\\x{1fbd}\\x{1fbf}-\\x{1fc1}\\x{1fcd}-\\x{1fcf}\\x{1fdd}-\\x{1fdf}\\x{1fed}-\\x{1fef}\\x{1ffd}-\\x{206f}\\x{207a}-\\x{207e}\\x{208a}-\\x{208e}\\x{20a0}-\\x{2101}\\x{2103}-\\x{2106}\\x{2108}-\\x{2109}\\x{2114}\\x{2116}-\\x{2118}\\x{211e}-\\x{2123}\\x{2125}\\x{2127}\\x{2129}\\x{212e}\\x{213a}-\\x{213b}\\x{2140}-\\x{2144}\\x{214a}-\\x{214d}\\x{214f}\\x{218a}-\\x{2bff}\\x{2ce5}-\\x{2cea}\\x{2cf9}-\\x{2cfc}\\x{2cfe}-\\x{2cff}\\x{2d70}\\x{2e00}-\\x{3004}\\x{3008}-\\x{3020}\\x{3030}\\x{3036}-\\x{3037}\\x{303d}-\\x{303f}\\x{309b}-\\x{309c}\\x{30a0}\\x{30fb}\\x{3190}-\\x{3191}\\x{3196}-\\x{319f}\\x{31c0}-\\x{31e3}\\x{3200}-\\x{321e}\\x{322a}-\\x{3247}\\x{3250}\\x{3260}-\\x{327f}\\x{328a}-\\x{32b0}\\x{32c0}-\\x{33ff}\\x{4dc0}-\\x{4dff}\\x{a490}-\\x{a4c6}\\x{a4fe}-\\x{a4ff}\\x{a60d}-\\x{a60f}\\x{a673}\\x{a67e}\\x{a6f2}-\\x{a716}\\x{a720}-\\x{a721}\\x{a789}-\\x{a78a}\\x{a828}-\\x{a82b}\\x{a836}-\\x{a839}\\x{a874}-\\x{a877}\\x{a8ce}-\\x{a8cf}\\x{a8f8}-\\x{a8fa}\\x{a8fc}\\x{a92e}-\\x{a92f}\\x{a95f}\\x{a9c1}-\\x{a9cd}\\x{a9de}-\\x{a9df}\\x{aa5c}-\\x{aa5f}\\x{aa77}-\\x{aa79}\\x{aade}-\\x{aadf}\\x{aaf0}-\\x{aaf1}\\x{ab5b}\\x{ab6a}-\\x{ab6b}\\x{abeb}\\x{d800}-\\x{f8ff}\\x{fb29}\\x{fbb2}-\\x{fbc2}\\x{fd3e}-\\x{fd4f}\\x{fdcf}\\x{fdfc}-\\x{fe19}\\x{fe30}-\\x{fe6b}\\x{feff}-\\x{ff0f}\\x{ff1a}-\\x{ff20}\\x{ff3b}-\\x{ff40}\\x{ff5b}-\\x{ff65}\\x{ffe0}-\\x{fffd}\\x{10100}-\\x{10102}\\x{10137}-\\x{1013f}\\x{10179}-\\x{10189}\\x{1018c}-\\x{101fc}\\x{1039f}\\x{103d0}\\x{1056f}\\x{10857}\\x{10877}-\\x{10878}\\x{1091f}\\x{1093f}\\x{10a50}-\\x{10a58}\\x{10a7f}\\x{10ac8}\\x{10af0}-\\x{10af6}\\x{10b39}-\\x{10b3f}\\x{10b99}-\\x{10b9c}\\x{10ead}\\x{10f55}-\\x{10f59}\\x{10f86}-\\x{10f89}\\x{11047}-\\x{1104d}\\x{110bb}-\\x{110c1}\\x{110cd}\\x{11140}-\\x{11143}\\x{11174}-\\x{11175}\\x{111c5}-\\x{111c8}\\x{111cd}\\x{111db}\\x{111dd}-\\x{111df}\\x{11238}-\\x{1123d}\\x{112a9}\\x{1144b}-\\x{1144f}\\x{1145a}-\\x{1145d}\\x{114c6}\\x{115c1}-\\x{115d7}\\x{11641}-\\x{11643}\\x{11660}-\\x{1166c}\\x{116b9}\\x{1173c}-\\x{1173f}\\x{1183b}\\x{11944}-\\x{11946}\\x{119e2}\\x{11a3f}-\\x{11a46}\\x{11a9a}-\\x{11a9c}\\x{11a9e}-\\x{11aa2}\\x{11c41}-\\x{11c45}\\x{11c70}-\\x{11c71}\\x{11ef7}-\\x{11ef8}\\x{11fd5}-\\x{11fff}\\x{12470}-\\x{12474}\\x{12ff1}-\\x{12ff2}\\x{13430}-\\x{13438}\\x{16a6e}-\\x{16a6f}\\x{16af5}\\x{16b37}-\\x{16b3f}\\x{16b44}-\\x{16b45}\\x{16e97}-\\x{16e9a}\\x{16fe2}\\x{1bc9c}\\x{1bc9f}-\\x{1bca3}\\x{1cf50}-\\x{1d164}\\x{1d16a}-\\x{1d16c}\\x{1d173}-\\x{1d17a}\\x{1d183}-\\x{1d184}\\x{1d18c}-\\x{1d1a9}\\x{1d1ae}-\\x{1d241}\\x{1d245}\\x{1d300}-\\x{1d356}\\x{1d6c1}\\x{1d6db}\\x{1d6fb}\\x{1d715}\\x{1d735}\\x{1d74f}\\x{1d76f}\\x{1d789}\\x{1d7a9}\\x{1d7c3}\\x{1d800}-\\x{1d9ff}\\x{1da37}-\\x{1da3a}\\x{1da6d}-\\x{1da74}\\x{1da76}-\\x{1da83}\\x{1da85}-\\x{1da8b}\\x{1e14f}\\x{1e2ff}\\x{1e95e}-\\x{1e95f}\\x{1ecac}\\x{1ecb0}\\x{1ed2e}\\x{1eef0}-\\x{1fbca}\\x{e0000}-\\x{10ffff}\\x{e01}-\\x{e3e}\\x{e40}-\\x{e4e}\\x{e50}-\\x{e59}\\x{e5c}-\\x{eff}\\x{1000}-\\x{1049}\\x{1050}-\\x{109d}\\x{1100}-\\x{11ff}\\x{1780}-\\x{17d3}\\x{17d7}\\x{17dc}-\\x{17ff}\\x{3005}-\\x{3007}\\x{3021}-\\x{302f}\\x{3031}-\\x{3035}\\x{3038}-\\x{303c}\\x{3041}-\\x{309a}\\x{309d}-\\x{309f}\\x{30a1}-\\x{30fa}\\x{30fc}-\\x{30ff}\\x{3105}-\\x{318e}\\x{31a0}-\\x{31bf}\\x{31f0}-\\x{31ff}\\x{3400}-\\x{4dbf}\\x{4e00}-\\x{9fff}\\x{a960}-\\x{a97f}\\x{a9e0}-\\x{a9ff}\\x{aa60}-\\x{aa76}\\x{aa7a}-\\x{aa7f}\\x{ac00}-\\x{d7ff}\\x{f900}-\\x{faff}\\x{ff66}-\\x{ffdc}\\x{1aff0}-\\x{1b2ff}\\x{20000}-\\x{3ffff}]+'), ' '), 'µÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİıĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽſƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƠƢƤƦƧƩƬƮƯƱƲƳƵƷƸƼǄǅǇǈǊǋǍǏǑǓǕǗǙǛǞǠǢǤǦǨǪǬǮǱǲǴǶǷǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞȠȢȤȦȨȪȬȮȰȲȺȻȽȾɁɃɄɅɆɈɊɌɎͅͰͲͶͿΆΈΉΊΌΎΏΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫςϏϐϑϕϖϘϚϜϞϠϢϤϦϨϪϬϮϰϱϴϵϷϹϺϽϾϿЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӁӃӅӇӉӋӍӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍᏸᏹᏺᏻᏼᏽᲀᲁᲂᲃᲄᲅᲆᲇᲈᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂẄẆẈẊẌẎẐẒẔẛẞẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩὪὫὬὭὮὯᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮᾯᾸᾹᾺΆᾼιῈΈῊΉῌῘῙῚΊῨῩῪΎῬῸΌῺΏῼΩKÅℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠⱢⱣⱤⱧⱩⱫⱭⱮⱯⱰⱲⱵⱾⱿⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲꙀꙂꙄꙆꙈꙊꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻꝽꝾꞀꞂꞄꞆꞋꞍꞐꞒꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨꞪꞫꞬꞭꞮꞰꞱꞲꞳꞴꞶꞸꞺꞼꞾꟀꟂꟄꟅꟆꟇꟉꟐꟖꟘꟵꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟꮠꮡꮢꮣꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ𐐀𐐁𐐂𐐃𐐄𐐅𐐆𐐇𐐈𐐉𐐊𐐋𐐌𐐍𐐎𐐏𐐐𐐑𐐒𐐓𐐔𐐕𐐖𐐗𐐘𐐙𐐚𐐛𐐜𐐝𐐞𐐟𐐠𐐡𐐢𐐣𐐤𐐥𐐦𐐧𐒰𐒱𐒲𐒳𐒴𐒵𐒶𐒷𐒸𐒹𐒺𐒻𐒼𐒽𐒾𐒿𐓀𐓁𐓂𐓃𐓄𐓅𐓆𐓇𐓈𐓉𐓊𐓋𐓌𐓍𐓎𐓏𐓐𐓑𐓒𐓓𐕰𐕱𐕲𐕳𐕴𐕵𐕶𐕷𐕸𐕹𐕺𐕼𐕽𐕾𐕿𐖀𐖁𐖂𐖃𐖄𐖅𐖆𐖇𐖈𐖉𐖊𐖌𐖍𐖎𐖏𐖐𐖑𐖒𐖔𐖕𐲀𐲁𐲂𐲃𐲄𐲅𐲆𐲇𐲈𐲉𐲊𐲋𐲌𐲍𐲎𐲏𐲐𐲑𐲒𐲓𐲔𐲕𐲖𐲗𐲘𐲙𐲚𐲛𐲜𐲝𐲞𐲟𐲠𐲡𐲢𐲣𐲤𐲥𐲦𐲧𐲨𐲩𐲪𐲫𐲬𐲭𐲮𐲯𐲰𐲱𐲲𑢠𑢡𑢢𑢣𑢤𑢥𑢦𑢧𑢨𑢩𑢪𑢫𑢬𑢭𑢮𑢯𑢰𑢱𑢲𑢳𑢴𑢵𑢶𑢷𑢸𑢹𑢺𑢻𑢼𑢽𑢾𑢿𖹀𖹁𖹂𖹃𖹄𖹅𖹆𖹇𖹈𖹉𖹊𖹋𖹌𖹍𖹎𖹏𖹐𖹑𖹒𖹓𖹔𖹕𖹖𖹗𖹘𖹙𖹚𖹛𖹜𖹝𖹞𖹟𞤀𞤁𞤂𞤃𞤄𞤅𞤆𞤇𞤈𞤉𞤊𞤋𞤌𞤍𞤎𞤏𞤐𞤑𞤒𞤓𞤔𞤕𞤖𞤗𞤘𞤙𞤚𞤛𞤜𞤝𞤞𞤟𞤠𞤡', 'μàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįiiĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷÿźżžsɓƃƅɔƈɖɗƌǝəɛƒɠɣɩɨƙɯɲɵơƣƥʀƨʃƭʈưʊʋƴƶʒƹƽǆǆǉǉǌǌǎǐǒǔǖǘǚǜǟǡǣǥǧǩǫǭǯǳǳǵƕƿǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟƞȣȥȧȩȫȭȯȱȳⱥȼƚⱦɂƀʉʌɇɉɋɍɏιͱͳͷϳάέήίόύώαβγδεζηθικλμνξοπρστυφχψωϊϋσϗβθφπϙϛϝϟϡϣϥϧϩϫϭϯκρθεϸϲϻͻͼͽѐёђѓєѕіїјљњћќѝўџабвгдежзийклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӏӂӄӆӈӊӌӎӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭᏰᏱᏲᏳᏴᏵвдосттъѣꙋაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃẅẇẉẋẍẏẑẓẕṡßạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻỽỿἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡὢὣὤὥὦὧᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦᾧᾰᾱὰάᾳιὲέὴήῃῐῑὶίῠῡὺύῥὸόὼώῳωkåⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡɫᵽɽⱨⱪⱬɑɱɐɒⱳⱶȿɀⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳꙁꙃꙅꙇꙉꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼᵹꝿꞁꞃꞅꞇꞌɥꞑꞓꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩɦɜɡɬɪʞʇʝꭓꞵꞷꞹꞻꞽꞿꟁꟃꞔʂᶎꟈꟊꟑꟗꟙꟶᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏᏐᏑᏒᏓᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ𐐨𐐩𐐪𐐫𐐬𐐭𐐮𐐯𐐰𐐱𐐲𐐳𐐴𐐵𐐶𐐷𐐸𐐹𐐺𐐻𐐼𐐽𐐾𐐿𐑀𐑁𐑂𐑃𐑄𐑅𐑆𐑇𐑈𐑉𐑊𐑋𐑌𐑍𐑎𐑏𐓘𐓙𐓚𐓛𐓜𐓝𐓞𐓟𐓠𐓡𐓢𐓣𐓤𐓥𐓦𐓧𐓨𐓩𐓪𐓫𐓬𐓭𐓮𐓯𐓰𐓱𐓲𐓳𐓴𐓵𐓶𐓷𐓸𐓹𐓺𐓻𐖗𐖘𐖙𐖚𐖛𐖜𐖝𐖞𐖟𐖠𐖡𐖣𐖤𐖥𐖦𐖧𐖨𐖩𐖪𐖫𐖬𐖭𐖮𐖯𐖰𐖱𐖳𐖴𐖵𐖶𐖷𐖸𐖹𐖻𐖼𐳀𐳁𐳂𐳃𐳄𐳅𐳆𐳇𐳈𐳉𐳊𐳋𐳌𐳍𐳎𐳏𐳐𐳑𐳒𐳓𐳔𐳕𐳖𐳗𐳘𐳙𐳚𐳛𐳜𐳝𐳞𐳟𐳠𐳡𐳢𐳣𐳤𐳥𐳦𐳧𐳨𐳩𐳪𐳫𐳬𐳭𐳮𐳯𐳰𐳱𐳲𑣀𑣁𑣂𑣃𑣄𑣅𑣆𑣇𑣈𑣉𑣊𑣋𑣌𑣍𑣎𑣏𑣐𑣑𑣒𑣓𑣔𑣕𑣖𑣗𑣘𑣙𑣚𑣛𑣜𑣝𑣞𑣟𖹠𖹡𖹢𖹣𖹤𖹥𖹦𖹧𖹨𖹩𖹪𖹫𖹬𖹭𖹮𖹯𖹰𖹱𖹲𖹳𖹴𖹵𖹶𖹷𖹸𖹹𖹺𖹻𖹼𖹽𖹾𖹿𞤢𞤣𞤤𞤥𞤦𞤧𞤨𞤩𞤪𞤫𞤬𞤭𞤮𞤯𞤰𞤱𞤲𞤳𞤴𞤵𞤶𞤷𞤸𞤹𞤺𞤻𞤼𞤽𞤾𞤿𞥀𞥁𞥂𞥃')), 'ß', 'ss'))
        CODEC(ZSTD(1)),

    INDEX timestamp_minmax timestamp TYPE minmax GRANULARITY 1,
    INDEX received_at_minmax received_at TYPE minmax GRANULARITY 1,
    INDEX position_minmax (log_id, partition, offset) TYPE minmax GRANULARITY 1,
    INDEX source_set source TYPE set(100) GRANULARITY 1,
    INDEX id_bloom id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX message_words if(empty(words), lower(message), words)
        TYPE text(tokenizer = 'splitByNonAlpha', posting_list_codec = 'bitpacking')
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
-- By second, then in the order of the log: neighbours look alike, and the newest events are still read first.
ORDER BY (tenant_id, toStartOfSecond(timestamp), log_id, partition, offset)
TTL expires_on
SETTINGS
    auto_statistics_types = '',
    -- Insert tokens are compared with this many blocks back; in a replicated table also for this long.
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    replicated_deduplication_window_seconds = 604800,
    -- A power cut: an insert is synced before it is acknowledged, a merge before its sources go.
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    old_parts_lifetime = 30,
    -- Merging is the larger half of an insert's price: fewer, wider steps, column by column.
    merge_selector_base = 16,
    max_bytes_to_merge_at_max_space_in_pool = 4294967296,
    vertical_merge_algorithm_min_rows_to_activate = 1,
    vertical_merge_algorithm_min_columns_to_activate = 1,
    vertical_merge_algorithm_min_bytes_to_activate = 0;
